# Tries lines of settings: each alone must be a configuration that can be used. `bash settings.sh BLOCK`.
set -e
: > unused.env
while IFS= read -r line; do
  [ -n "$line" ] || continue
  code=0
  said=$(set -a; eval "$line"; comfyui-gateway --env-file unused.env list-workflows 2>&1) || code=$?
  # Examples name files that are not on this machine.
  faults=$(grep '^  - ' <<< "$said" | grep -v "(from the environment): .*No such file" || true)
  if [ "$code" = 2 ] && [ -n "$faults" ]; then
    printf '%s\n%s\n' "$line" "$said"
    exit 1
  fi
done < "$1"
