//! Every path of the API, once. Served at `/` and under `/v1`.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};
use gateway_core::ErrorCode;

use crate::error::ApiError;
use crate::{
    admin, audit, batches, files, health, images, jobs, keys, mcp, metrics, openapi, outputs, webhooks, workflows,
};

/// The path of a request as this list has it, with names in place of what differs from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct Route(pub(crate) &'static str);

/// A path at which only the methods in `allowed` are answered.
fn at(path: &'static str, allowed: &'static str) -> Resource {
    let refuse = move |request: HttpRequest| {
        let detail = format!("{} is not allowed here; allowed: {allowed}", request.method());
        let error = ApiError::new(ErrorCode::MethodNotAllowed, detail).with_header("allow", allowed);
        std::future::ready(Err::<&'static str, _>(error))
    };
    web::resource(path).app_data(Route(path)).default_service(web::to(refuse))
}

/// Registers all paths.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(web::scope("/v1").configure(all)).configure(all).default_service(web::to(|| {
        std::future::ready(Err::<&'static str, _>(ApiError::new(ErrorCode::NotFound, "there is nothing at this path")))
    }));
}

fn all(config: &mut ServiceConfig) {
    config
        .service(at("/health", "GET, HEAD").get(health::health).head(health::health))
        .service(at("/health/live", "GET, HEAD").get(health::live).head(health::live))
        .service(at("/health/ready", "GET, HEAD").get(health::ready).head(health::ready))
        .service(at("/capabilities", "GET").get(health::capabilities))
        .service(at("/metrics", "GET").get(metrics::show_metrics))
        .service(at("/openapi.json", "GET").get(openapi::show_document))
        .service(at("/docs", "GET").get(openapi::show_page))
        .service(at("/workflows", "GET, POST").get(workflows::list_workflows).post(workflows::create_workflow))
        .service(
            at("/workflows/{id}", "GET, PUT, DELETE")
                .get(workflows::find_workflow)
                .put(workflows::update_workflow)
                .delete(workflows::delete_workflow),
        )
        .service(at("/workflows/{id}/validate", "POST").post(workflows::validate_inputs))
        .service(at("/jobs", "GET, POST").get(jobs::list_jobs).post(jobs::create_job))
        .service(at("/jobs/stats", "GET").get(jobs::job_stats))
        .service(at("/jobs/{id}", "GET, DELETE").get(jobs::find_job).delete(jobs::delete_job))
        .service(at("/jobs/{id}/events", "GET").get(jobs::watch_job))
        .service(at("/jobs/{id}/logs", "GET").get(jobs::list_logs))
        .service(at("/jobs/{id}/cancel", "POST").post(jobs::cancel_job))
        .service(at("/jobs/{id}/retry", "POST").post(jobs::retry_job))
        .service(at("/batches", "POST").post(batches::create_batch))
        .service(at("/batches/{id}", "GET").get(batches::find_batch))
        .service(at("/batches/{id}/cancel", "POST").post(batches::cancel_batch))
        .service(at("/batches/{id}/webhooks", "GET").get(webhooks::list_batch_deliveries))
        .service(at("/batches/{id}/webhooks/{delivery}/redeliver", "POST").post(webhooks::redeliver_batch))
        .service(at("/images/generations", "POST").post(images::generate_images))
        .service(at("/images/edits", "POST").post(images::edit_images))
        .service(
            at("/images/files/{token}/{file}", "GET, HEAD").get(images::download_linked).head(images::download_linked),
        )
        .service(at("/uploads", "POST").post(files::create_upload))
        .service(at("/jobs/{id}/webhooks", "GET").get(webhooks::list_deliveries))
        .service(at("/jobs/{id}/webhooks/{delivery}/redeliver", "POST").post(webhooks::redeliver))
        .service(at("/mcp", "POST").post(mcp::answer_message))
        .service(at("/keys", "GET, POST").get(keys::list_keys).post(keys::create_key))
        .service(at("/keys/{id}", "DELETE").delete(keys::revoke_key))
        .service(at("/audit", "GET").get(audit::list_audit))
        .service(at("/workers", "GET").get(admin::list_workers))
        .service(at("/workers/{id}/drain", "POST").post(admin::drain_worker))
        .service(at("/queue/pause", "POST").post(admin::pause_queue))
        .service(at("/queue/resume", "POST").post(admin::resume_queue))
        .service(at("/queue/dead", "GET").get(jobs::list_dead))
        .service(at("/queue/dead/{id}/retry", "POST").post(admin::retry_dead))
        .service(at("/outputs/{id}", "GET").get(outputs::list_outputs))
        .service(at("/outputs/{id}/{file}", "GET, HEAD").get(outputs::download_output).head(outputs::download_output));
}
