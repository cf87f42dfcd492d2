//! The registered workflows against the ComfyUI servers: which node classes and model files each server lacks.

use gateway_core::ids::is_raw_workflow_id;
use gateway_core::workflow::{Missing, NodeCatalog, Workflow, WorkflowSource};
use gateway_db::{Content, WorkflowRecord};

use super::comfyui::Server;
use super::finding::{Area, Finding};

const AREA: Area = Area::Workflows;

/// What one server lacks for one workflow.
struct Lack<'a> {
    url: &'a str,
    missing: Vec<Missing>,
    /// Whether no caller can get around it.
    fixed: bool,
}

/// Holds each workflow in `content` against each of `servers`.
pub(super) fn findings(content: Option<&Content>, servers: &[Server]) -> Vec<Finding> {
    let Some(content) = content else {
        return vec![Finding::note(
            AREA,
            "not looked at: the database can't be read, or its tables are not up to date",
        )];
    };
    // Those of raw graphs are no one's to mend.
    let workflows: Vec<&WorkflowRecord> =
        content.workflows.iter().filter(|workflow| !is_raw_workflow_id(&workflow.summary.id)).collect();
    if workflows.is_empty() {
        return vec![Finding::note(AREA, "none is registered").mended_by("comfyui-gateway init, or add-workflow FILE")];
    }
    let asked: Vec<(&str, &NodeCatalog)> =
        servers.iter().filter_map(|server| Some((server.url.as_str(), server.catalog.as_ref()?))).collect();
    if asked.is_empty() {
        let seen =
            format!("{} are registered; not looked at: no ComfyUI server has told its node classes", workflows.len());
        return vec![Finding::note(AREA, seen)];
    }
    let (mut findings, mut fine) = (Vec::new(), Vec::new());
    for workflow in workflows {
        match check(workflow, &asked) {
            Some(finding) => findings.push(finding),
            None => fine.push(workflow.summary.id.as_str()),
        }
    }
    if !fine.is_empty() {
        let servers =
            if asked.len() == 1 { String::from("the server") } else { format!("all {} servers", asked.len()) };
        let seen = format!("{servers} that could be asked can run {}", fine.join(", "));
        findings.insert(0, Finding::ok(AREA, seen));
    }
    findings
}

/// What is wrong with one workflow.
fn check(record: &WorkflowRecord, asked: &[(&str, &NodeCatalog)]) -> Option<Finding> {
    let id = &record.summary.id;
    let source = WorkflowSource {
        graph: &record.graph,
        input_schema: Some(&record.summary.input_schema),
        outputs: &record.outputs,
    };
    let workflow = match Workflow::compile(source, None) {
        Ok(workflow) => workflow,
        Err(faults) => {
            let first = faults.first().map(|fault| format!(": {}: {}", fault.path, fault.message)).unwrap_or_default();
            let seen = format!("{id} is registered, and can't be used by this version{first}");
            return Some(Finding::error(AREA, seen, "correct it, and register it anew (add-workflow FILE --replace)"));
        }
    };
    let (fixed, default) = (workflow.fixed_needs(), workflow.default_needs());
    let mut lacks = Vec::new();
    for &(url, catalog) in asked {
        let missing = default.missing_in(catalog);
        if !missing.is_empty() {
            lacks.push(Lack { url, missing, fixed: !fixed.missing_in(catalog).is_empty() });
        }
    }
    judge(id, &lacks, asked.len())
}

fn judge(id: &str, lacks: &[Lack<'_>], asked: usize) -> Option<Finding> {
    if lacks.is_empty() {
        return None;
    }
    let named: Vec<String> = lacks.iter().map(describe).collect();
    let named = named.join("\n");
    let remedy = remedy(lacks);
    Some(if lacks.len() < asked {
        Finding::note(AREA, format!("{id} runs on other servers only:\n{named}")).mended_by(remedy)
    } else if lacks.iter().all(|lack| lack.fixed) {
        Finding::error(AREA, format!("{id} can run nowhere:\n{named}"), remedy)
    } else {
        let seen = format!("{id} runs only where its caller names another model than its default:\n{named}");
        Finding::warning(AREA, seen, remedy)
    })
}

fn describe(lack: &Lack<'_>) -> String {
    let missing: Vec<String> = lack.missing.iter().map(ToString::to_string).collect();
    format!("{} lacks {}", lack.url, missing.join(", "))
}

fn remedy(lacks: &[Lack<'_>]) -> &'static str {
    let any = |kind: fn(&Missing) -> bool| lacks.iter().flat_map(|lack| &lack.missing).any(kind);
    match (any(|each| matches!(each, Missing::Class(_))), any(|each| matches!(each, Missing::Model(_)))) {
        (true, false) => {
            "install the custom nodes that have these classes on the server, and restart it; or correct the workflow"
        }
        (false, true) => {
            "put the files into the server's models folder, or name one that it has (in ComfyUI, or by \
             /object_info/CheckpointLoaderSimple), in the workflow or in the job"
        }
        _ => {
            "install the custom nodes that have these classes on the server, put the files into its models folder, and \
             restart it; or correct the workflow"
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::workflow::ModelFile;

    use super::*;
    use crate::commands::doctor::finding::Report;

    fn told(lacks: &[Lack<'_>], asked: usize) -> String {
        Report::new(judge("plane", lacks, asked).into_iter().collect(), false).text(false)
    }

    #[test]
    fn how_bad_it_is_depends_on_who_lacks_what() {
        let model = || {
            let (class, input) = (String::from("Loader"), String::from("ckpt_name"));
            Missing::Model(ModelFile { class, input, file: String::from("a.safetensors") })
        };
        let lack = |url, missing, fixed| Lack { url, missing: vec![missing], fixed };
        assert_eq!(told(&[], 2), "\nall is well");
        let one = told(&[lack("http://one", model(), true)], 2);
        assert!(one.starts_with("note") && one.contains("http://one lacks model a.safetensors"), "{one}");
        let default = told(&[lack("http://one", model(), false), lack("http://two", model(), true)], 2);
        assert!(default.starts_with("warning") && default.contains("http://two lacks"), "{default}");
        let class = told(&[lack("http://one", Missing::Class(String::from("Sorcery")), true)], 1);
        assert!(class.starts_with("error") && class.contains("lacks node class Sorcery"), "{class}");
        assert!(class.contains("install the custom nodes"), "{class}");
    }
}
