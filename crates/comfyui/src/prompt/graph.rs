//! Walks over a graph's links: reachability, cycles, longest chain. Never recursive, because chains can be thousands
//! of nodes long. Judges nothing.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// For each node the nodes that feed it.
pub(super) type Links<'a> = HashMap<&'a str, Vec<&'a str>>;

/// Every well-formed link between existing nodes.
pub(super) fn collect_links(graph: &Map<String, Value>) -> Links<'_> {
    let source = |value: &'_ Value| match value.as_array()?.as_slice() {
        [Value::String(id), slot] if slot.is_u64() => graph.get_key_value(id).map(|(id, _)| id.as_str()),
        _ => None,
    };
    let of_node = |node: &'_ Value| {
        let inputs = node.get("inputs").and_then(Value::as_object);
        inputs.into_iter().flat_map(Map::values).filter_map(source).collect()
    };
    graph.iter().map(|(id, node)| (id.as_str(), of_node(node))).collect()
}

/// The given nodes and all that feed them, directly or not.
pub(super) fn upstream_of(links: &Links<'_>, starts: &[String]) -> HashSet<String> {
    let mut seen: HashSet<String> = starts.iter().cloned().collect();
    let mut open: Vec<&str> = starts.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        for source in links.get(id).into_iter().flatten() {
            if seen.insert((*source).to_owned()) {
                open.push(source);
            }
        }
    }
    seen
}

/// Orders nodes so that each comes after all that feed it; nodes on or behind a cycle are left out.
fn feeding_order<'a>(links: &Links<'a>) -> Vec<&'a str> {
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    let mut feeds: HashMap<&str, Vec<&'a str>> = HashMap::new();
    for (id, sources) in links {
        let known = sources.iter().filter(|source| links.contains_key(*source));
        waiting.insert(id, known.clone().count());
        for source in known {
            feeds.entry(source).or_default().push(id);
        }
    }
    let mut ready: Vec<&'a str> =
        links.iter().filter(|(id, _)| waiting.get(*id) == Some(&0)).map(|(id, _)| *id).collect();
    let mut order = Vec::with_capacity(links.len());
    while let Some(id) = ready.pop() {
        order.push(id);
        for fed in feeds.get(id).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(fed) {
                *count -= 1;
                if *count == 0 {
                    ready.push(fed);
                }
            }
        }
    }
    order
}

/// One loop, each node fed by the next; `None` if there is no loop.
pub(super) fn find_cycle(links: &Links<'_>) -> Option<Vec<String>> {
    let ordered: HashSet<&str> = feeding_order(links).into_iter().collect();
    let stuck = |id: &&str| links.contains_key(id) && !ordered.contains(id);
    let mut at = links.keys().copied().filter(stuck).min()?;
    // Each stuck node is fed by a stuck node, so walking upstream must come back to where it was.
    let mut path: Vec<&str> = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|id| *id == at) {
            return Some(path.into_iter().skip(start).map(str::to_owned).collect());
        }
        path.push(at);
        at = links.get(at)?.iter().copied().find(stuck)?;
    }
}

/// Number of nodes in the longest chain of a graph without loops, and the node that ends it.
pub(super) fn longest_chain<'a>(links: &Links<'a>) -> (usize, &'a str) {
    let mut length: HashMap<&str, usize> = HashMap::new();
    let mut longest = (0, "");
    for id in feeding_order(links) {
        let sources = links.get(id).into_iter().flatten();
        let before = sources.filter_map(|source| length.get(source)).max().copied().unwrap_or(0);
        length.insert(id, before + 1);
        if before + 1 > longest.0 {
            longest = (before + 1, id);
        }
    }
    longest
}
