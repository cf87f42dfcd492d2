//! Workflows and their versions. A version never changes; a removed workflow keeps its versions for the
//! jobs that began with them.

use diesel::prelude::*;
use gateway_core::Timestamp;
use serde_json::{Map, Value, json};

use crate::engine::Conn;
use crate::schema::{workflow_versions, workflows};
use crate::{Database, DbError};

/// The ids of those that came with jobs, which no list shows (`RAW_PREFIX`).
const SENT_WITH_JOBS: &str = r"raw\_%";
const ESCAPE: char = '\\';

/// A workflow to be stored, checked before.
#[derive(Debug, Clone)]
pub struct NewWorkflow {
    /// 1–64 of `[a-z0-9_-]`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// The template.
    pub graph: Value,
    /// JSON Schema of what callers send, given or derived.
    pub input_schema: Value,
    /// Nodes whose files are outputs; empty for all that make some.
    pub outputs: Vec<String>,
    /// What it needs of a ComfyUI server.
    pub requirements: Option<Value>,
}

/// A workflow without its graph.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of NewWorkflow and of the API's workflow")]
pub struct WorkflowSummary {
    pub id: String,
    pub name: String,
    pub description: String,
    pub version: i32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub input_schema: Value,
}

impl WorkflowSummary {
    /// The workflow as lists show it.
    pub fn shown(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("name", json!(self.name)),
            ("description", json!(self.description)),
            ("version", json!(self.version)),
            ("createdAt", json!(self.created_at)),
            ("updatedAt", json!(self.updated_at)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
    }
}

/// A workflow in one version.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of NewWorkflow")]
pub struct WorkflowRecord {
    pub summary: WorkflowSummary,
    pub graph: Value,
    pub outputs: Vec<String>,
    pub requirements: Option<Value>,
}

type HeadRow = (String, String, String, i32, i64, i64);
type BodyRow = (String, String, String, Option<String>);

impl Database {
    /// Stores a workflow that is not there yet; returns its version.
    ///
    /// # Errors
    /// [`DbError::Duplicate`] where the id is taken.
    pub async fn create_workflow(&self, workflow: NewWorkflow) -> Result<i32, DbError> {
        let now = self.now().as_millis();
        self.write(move |connection| {
            let current = head(connection, &workflow.id)?;
            if current.as_ref().is_some_and(|(_, deleted)| deleted.is_none()) {
                return Err(DbError::Duplicate);
            }
            store(connection, &workflow, current.map_or(1, |(version, _)| version + 1), now)
        })
        .await
    }

    /// Replaces a workflow by a new version; returns that. `None` where it is not there, or where its
    /// version is not `expected`.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn replace_workflow(&self, workflow: NewWorkflow, expected: Option<i32>) -> Result<Option<i32>, DbError> {
        let now = self.now().as_millis();
        self.write(move |connection| match head(connection, &workflow.id)? {
            Some((version, None)) if expected.is_none_or(|expected| expected == version) => {
                store(connection, &workflow, version + 1, now).map(Some)
            }
            _ => Ok(None),
        })
        .await
    }

    /// Removes a workflow; its versions stay for the jobs that use them. `false` where it is not there.
    ///
    /// # Errors
    /// [`DbError`] where nothing was written.
    pub async fn delete_workflow(&self, id: &str) -> Result<bool, DbError> {
        let (id, now) = (id.to_owned(), self.now().as_millis());
        self.write(move |connection| {
            let there = workflows::table.find(id).filter(workflows::deleted_at.is_null());
            Ok(diesel::update(there).set(workflows::deleted_at.eq(now)).execute(connection)? > 0)
        })
        .await
    }

    /// All workflows that are registered, in order of their ids.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn list_workflows(&self) -> Result<Vec<WorkflowSummary>, DbError> {
        self.read(|connection| {
            let rows: Vec<(HeadRow, String)> = workflows::table
                .inner_join(workflow_versions::table)
                .filter(workflows::deleted_at.is_null())
                .filter(workflows::id.not_like(SENT_WITH_JOBS).escape(ESCAPE))
                .filter(workflows::version.eq(workflow_versions::version))
                .order(workflows::id)
                .select((head_columns(), workflow_versions::input_schema))
                .load(connection)?;
            rows.into_iter().map(|(head, schema)| summary(head, &schema)).collect()
        })
        .await
    }

    /// The graphs of all workflows that are registered.
    ///
    /// # Errors
    /// [`DbError`] where they could not be read.
    pub async fn registered_graphs(&self) -> Result<Vec<Value>, DbError> {
        self.read(|connection| {
            let rows: Vec<(String, String)> = workflows::table
                .inner_join(workflow_versions::table)
                .filter(workflows::deleted_at.is_null())
                .filter(workflows::id.not_like(SENT_WITH_JOBS).escape(ESCAPE))
                .filter(workflows::version.eq(workflow_versions::version))
                .select((workflows::id, workflow_versions::graph))
                .load(connection)?;
            rows.iter().map(|(id, graph)| parse(id, graph)).collect()
        })
        .await
    }

    /// The workflow `id` in its current version, or in `version` where one is given (then also if it was
    /// removed since).
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_workflow(&self, id: &str, version: Option<i32>) -> Result<Option<WorkflowRecord>, DbError> {
        let id = id.to_owned();
        self.read_row(move |connection| {
            let mut query = workflows::table
                .inner_join(workflow_versions::table)
                .filter(workflows::id.eq(id))
                .select((head_columns(), body_columns()))
                .into_boxed();
            query = match version {
                Some(version) => query.filter(workflow_versions::version.eq(version)),
                None => query
                    .filter(workflows::deleted_at.is_null())
                    .filter(workflows::version.eq(workflow_versions::version)),
            };
            let row: Option<(HeadRow, BodyRow)> = query.get_result(connection).optional()?;
            let Some((mut head, body)) = row else {
                return Ok(None);
            };
            head.3 = version.unwrap_or(head.3);
            record(head, body).map(Some)
        })
        .await
    }
}

/// All workflows in their current versions, whole, in order of their ids.
pub(crate) fn current(connection: &mut Conn) -> Result<Vec<WorkflowRecord>, DbError> {
    let rows: Vec<(HeadRow, BodyRow)> = workflows::table
        .inner_join(workflow_versions::table)
        .filter(workflows::deleted_at.is_null())
        .filter(workflows::version.eq(workflow_versions::version))
        .order(workflows::id)
        .select((head_columns(), body_columns()))
        .load(connection)?;
    rows.into_iter().map(|(head, body)| record(head, body)).collect()
}

#[diesel::dsl::auto_type(no_type_alias)]
fn head_columns() -> _ {
    (
        workflows::id,
        workflows::name,
        workflows::description,
        workflows::version,
        workflows::created_at,
        workflows::updated_at,
    )
}

#[diesel::dsl::auto_type(no_type_alias)]
fn body_columns() -> _ {
    (
        workflow_versions::input_schema,
        workflow_versions::graph,
        workflow_versions::outputs,
        workflow_versions::requirements,
    )
}

/// Version and time of removal of a workflow.
fn head(connection: &mut Conn, id: &str) -> QueryResult<Option<(i32, Option<i64>)>> {
    workflows::table.find(id).select((workflows::version, workflows::deleted_at)).get_result(connection).optional()
}

fn store(connection: &mut Conn, new: &NewWorkflow, version: i32, now: i64) -> Result<i32, DbError> {
    let head = (
        workflows::name.eq(&new.name),
        workflows::description.eq(&new.description),
        workflows::version.eq(version),
        workflows::updated_at.eq(now),
        workflows::deleted_at.eq(None::<i64>),
    );
    let changed = diesel::update(workflows::table.find(&new.id)).set(head).execute(connection)?;
    if changed == 0 {
        diesel::insert_into(workflows::table)
            .values((workflows::id.eq(&new.id), workflows::created_at.eq(now), head))
            .execute(connection)?;
    }
    diesel::insert_into(workflow_versions::table)
        .values((
            workflow_versions::workflow_id.eq(&new.id),
            workflow_versions::version.eq(version),
            workflow_versions::graph.eq(new.graph.to_string()),
            workflow_versions::input_schema.eq(new.input_schema.to_string()),
            workflow_versions::outputs.eq(Value::from(new.outputs.clone()).to_string()),
            workflow_versions::requirements.eq(new.requirements.as_ref().map(Value::to_string)),
            workflow_versions::created_at.eq(now),
        ))
        .execute(connection)?;
    Ok(version)
}

fn summary(head: HeadRow, schema: &str) -> Result<WorkflowSummary, DbError> {
    let (id, name, description, version, created_at, updated_at) = head;
    Ok(WorkflowSummary {
        input_schema: parse(&id, schema)?,
        id,
        name,
        description,
        version,
        created_at: Timestamp::from_millis(created_at),
        updated_at: Timestamp::from_millis(updated_at),
    })
}

fn record(head: HeadRow, (schema, graph, outputs, requirements): BodyRow) -> Result<WorkflowRecord, DbError> {
    let summary = summary(head, &schema)?;
    let outputs: Value = parse(&summary.id, &outputs)?;
    Ok(WorkflowRecord {
        graph: parse(&summary.id, &graph)?,
        outputs: outputs.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        requirements: requirements.map(|text| parse(&summary.id, &text)).transpose()?,
        summary,
    })
}

fn parse(id: &str, text: &str) -> Result<Value, DbError> {
    serde_json::from_str(text)
        .map_err(|error| DbError::Corrupt { row: format!("workflow_versions/{id}"), reason: error.to_string() })
}
