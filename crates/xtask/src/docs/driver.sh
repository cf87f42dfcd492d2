# Runs the blocks of one page in one shell, so that each sees what those before it have set. The calls of a page follow.
# DOCS_BLOCKS: the folder of the blocks. DOCS_LOGS: of what they say. DOCS_STATE: a line for each that begins or ends.
set -e
declare -A DOCS_SERVERS
DOCS_FAULTS=$DOCS_LOGS/faults

# A reader would see an error in an answer, a shell does not.
curl() {
  local headers code=0 status
  headers=$(mktemp -p "$DOCS_LOGS")
  command curl -D "$headers" "$@" || code=$?
  status=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$headers" | tail -n 1)
  rm "$headers"
  # 23: who reads the answer has enough of it.
  if [ "$code" = 23 ]; then code=0; fi
  if [ -n "$DOCS_STATUS" ]; then
    [ "$status" = "$DOCS_STATUS" ] || code=22
  elif [ "${status:-0}" -ge 400 ]; then
    code=22
  fi
  [ "$code" = 0 ] || echo "curl $* ended with $code, status ${status:-none}" >> "$DOCS_FAULTS"
  return "$code"
}

docs_file() {
  case "$1" in
    *.sh) source "$DOCS_BLOCKS/$1" ;;
    *.py) python3 "$DOCS_BLOCKS/$1" ;;
    *.mjs) node "$DOCS_BLOCKS/$1" ;;
    *.ts) deno run --quiet --allow-net --allow-env "$DOCS_BLOCKS/$1" ;;
  esac
}

docs_begin() {
  : > "$DOCS_FAULTS"
  echo "begin $1 $EPOCHREALTIME" >> "$DOCS_STATE"
}

docs_end() {
  if [ -s "$DOCS_FAULTS" ]; then
    cat "$DOCS_FAULTS" >> "$DOCS_LOGS/$1.err"
    exit 1
  fi
  echo "end $1 $EPOCHREALTIME" >> "$DOCS_STATE"
}

# Its name, its file, the status that its answers have, the block that it is about.
docs_run() {
  docs_begin "$1"
  DOCS_STATUS=$3 BLOCK=$DOCS_BLOCKS/$4
  docs_file "$2" > "$DOCS_LOGS/$1.out" 2> "$DOCS_LOGS/$1.err" < /dev/null
  DOCS_STATUS=
  docs_end "$1"
}

docs_listens() {
  case "$1" in
    gateway) command curl -sf -o "$DOCS_LOGS/ready" "$GATEWAY_URL/health/ready" ;;
    *) (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null ;;
  esac
}

# Its name, its file, what it listens on, the block that it is about. In a group of processes of its own, to be ended.
docs_background() {
  docs_begin "$1"
  BLOCK=$DOCS_BLOCKS/$4
  if [ -n "${DOCS_SERVERS[$3]}" ]; then
    kill -TERM -- "-${DOCS_SERVERS[$3]}"
    wait "${DOCS_SERVERS[$3]}" || true
    while kill -0 -- "-${DOCS_SERVERS[$3]}" 2> /dev/null; do sleep 0.05; done
  fi
  set -m
  (docs_file "$2") > "$DOCS_LOGS/$1.out" 2> "$DOCS_LOGS/$1.err" < /dev/null &
  set +m
  DOCS_SERVERS[$3]=$!
  echo "$!" >> "$DOCS_LOGS/groups"
  until docs_listens "$3"; do
    kill -0 "${DOCS_SERVERS[$3]}" 2> /dev/null || exit 1
    sleep 0.1
  done
  docs_end "$1"
}

