//! `add-workflow`: registers a workflow from files.

use std::path::Path;

use gateway_config::Overrides;
use gateway_core::ids::is_workflow_id;
use gateway_core::workflow::{Workflow, WorkflowSource};
use gateway_db::{Database, DbError, NewWorkflow};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{AddWorkflow, Setting};
use crate::exit::Failure;
use crate::http::Remote;
use crate::place::Place;

/// Registers through the gateway that holds the database, or straight into it.
pub(crate) async fn run(setting: &Setting<'_>, args: AddWorkflow) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let new = read(&args)?;
    let id = new.id.clone();
    let inputs = to_give(&new.input_schema);
    let (version, through): (i64, &str) = match Place::open(&settings, args.gateway.as_deref()).await? {
        Place::Database(database) => (store(&database, new, args.replace).await?.into(), "the database"),
        Place::Gateway(remote) => (send(&remote, &new, &args).await?, "the running gateway"),
    };
    setting.output.say(format!("registered {id} version {version} (through {through})"));
    setting.output.say(format!("try it: comfyui-gateway submit {id}{inputs} --wait"));
    setting.output.json(&json!({"id": id, "version": version}));
    Ok(())
}

/// What a job must give, as arguments of `submit` whose values are still to be written.
fn to_give(schema: &Value) -> String {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let default = |name: &str| schema.get("properties")?.get(name)?.get("default");
    names.filter(|name| default(name).is_none()).map(|name| format!(" {name}=…")).collect()
}

fn read(args: &AddWorkflow) -> Result<NewWorkflow, Failure> {
    let graph = read_json(&args.file)?;
    let schema = args.schema.as_deref().map(read_json).transpose()?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    if !is_workflow_id(&id) {
        let rule = "1 to 64 characters of a-z, 0-9, _ and -";
        return Err(Failure::usage(match &args.id {
            Some(_) => format!("--id: `{id}` is not {rule}"),
            None => format!("the file's name `{id}` can't be the workflow's id ({rule}): give one with --id"),
        }));
    }
    if graph.get("workflow").is_some_and(|inner| inner.is_object() && inner.get("class_type").is_none()) {
        return Err(Failure::failed(format!(
            "{} is the body of a POST /workflows, not a graph: send it with curl, or take its `workflow` alone",
            args.file.display()
        )));
    }
    let source = WorkflowSource { graph: &graph, input_schema: schema.as_ref(), outputs: &args.outputs };
    let workflow = Workflow::compile(source, None).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {}: {}", fault.path, fault.message)).collect();
        Failure::failed(format!("{} can't be registered:{}", args.file.display(), lines.concat()))
    })?;
    Ok(NewWorkflow {
        name: args.name.clone().unwrap_or_else(|| id.clone()),
        id,
        description: args.description.clone().unwrap_or_default(),
        input_schema: workflow.input_schema().clone(),
        graph,
        outputs: args.outputs.clone(),
        requirements: None,
    })
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("{} can't be read: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| Failure::failed(format!("{} is not JSON: {error}", path.display())))
}

async fn store(database: &Database, new: NewWorkflow, replace: bool) -> Result<i32, Failure> {
    let id = new.id.clone();
    match database.create_workflow(new.clone()).await {
        Ok(version) => Ok(version),
        Err(DbError::Duplicate) if replace => match database.replace_workflow(new, None).await {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(Failure::failed(format!("the workflow {id} was removed meanwhile"))),
            Err(error) => Err(Failure::failed(error)),
        },
        Err(DbError::Duplicate) => Err(exists(&id)),
        Err(error) => Err(Failure::failed(error)),
    }
}

async fn send(remote: &Remote, new: &NewWorkflow, args: &AddWorkflow) -> Result<i64, Failure> {
    let mut body = json!({"id": new.id, "name": new.name, "description": new.description, "workflow": new.graph});
    if let Some(object) = body.as_object_mut() {
        // Without a schema the gateway derives a better one: it knows the server's node classes.
        if args.schema.is_some() {
            object.insert(String::from("inputSchema"), new.input_schema.clone());
        }
        if !new.outputs.is_empty() {
            object.insert(String::from("outputs"), json!(new.outputs));
        }
    }
    let path = format!("/workflows/{}", new.id);
    let there = remote.request(Method::GET, &path, None).await?.status().is_success();
    let answer = match (there, args.replace) {
        (true, false) => return Err(exists(&new.id)),
        (true, true) => remote.send(Method::PUT, &path, Some(&body)).await?,
        (false, _) => remote.send(Method::POST, "/workflows", Some(&body)).await?,
    };
    Ok(answer.get("version").and_then(Value::as_i64).unwrap_or_default())
}

fn exists(id: &str) -> Failure {
    Failure::failed(format!("the workflow {id} exists already; --replace makes a new version of it"))
}
