//! The pictures of a job as a model sees them. Clients bound what a result may hold, so pictures share a budget: each
//! stands in the result as it is, or smaller, or not at all; its address leads to the whole in any case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway_core::OutputKind;
use rmcp::model::ContentBlock;

use crate::gateway::{Form, Gateway, Job, Output};
use crate::words;

/// What models read.
const SHOWN: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];
/// The squares that a picture is made to fit into which is too large, the larger first.
const SIDES: [u32; 2] = [1024, 512];
const SMALLER: &str = "image/webp";

/// What a result has of one output.
enum Shown {
    Whole(Bytes),
    /// As WebP.
    Smaller(Bytes),
    Not,
}

impl Shown {
    fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) | Self::Smaller(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Not => 0,
        }
    }

    fn note(&self) -> &'static str {
        match self {
            Self::Whole(_) | Self::Not => "",
            Self::Smaller(_) => ", shown smaller",
        }
    }

    fn content(&self, output: &Output) -> Option<ContentBlock> {
        match self {
            Self::Whole(bytes) => Some(ContentBlock::image(STANDARD.encode(bytes), output.content_type.as_str())),
            Self::Smaller(bytes) => Some(ContentBlock::image(STANDARD.encode(bytes), SMALLER)),
            Self::Not => None,
        }
    }
}

/// The content of the result of a job that has succeeded: what it made in words, then the pictures, which have at most
/// `budget` bytes together (before Base64).
pub(crate) async fn content<G: Gateway>(gateway: &G, job: &Job, budget: u64) -> Vec<ContentBlock> {
    let mut left = budget;
    let mut waiting = job.outputs.iter().filter(|output| is_shown(output)).count() as u64;
    let mut shown = Vec::with_capacity(job.outputs.len());
    for output in &job.outputs {
        if !is_shown(output) {
            shown.push(Shown::Not);
            continue;
        }
        let picture = fitting(gateway, job, output, left / waiting.max(1)).await;
        left = left.saturating_sub(picture.len());
        waiting = waiting.saturating_sub(1);
        shown.push(picture);
    }
    let lines = job.outputs.iter().zip(&shown).map(|(output, shown)| (output, shown.note(), gateway.url(&output.url)));
    let mut content = vec![ContentBlock::text(words::of_success(job, lines))];
    content.extend(job.outputs.iter().zip(&shown).filter_map(|(output, shown)| shown.content(output)));
    content
}

fn is_shown(output: &Output) -> bool {
    let known = SHOWN.contains(&output.content_type.as_str());
    output.kind == OutputKind::Image && known && output.removed_at.is_none()
}

/// The picture `output` in the largest form that has at most `share` bytes.
async fn fitting<G: Gateway>(gateway: &G, job: &Job, output: &Output, share: u64) -> Shown {
    if share == 0 {
        return Shown::Not;
    }
    let forms = if output.size <= share { vec![None] } else { SIDES.map(|side| Some(Form { side })).to_vec() };
    for form in forms {
        let bytes = match gateway.output(&job.job_id, &output.file, form).await {
            Ok(bytes) => bytes,
            Err(problem) => {
                tracing::debug!(jobId = job.job_id, code = problem.code, "a picture is not shown");
                return Shown::Not;
            }
        };
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= share) {
            return if form.is_none() { Shown::Whole(bytes) } else { Shown::Smaller(bytes) };
        }
    }
    Shown::Not
}

#[cfg(test)]
mod tests {
    use gateway_core::JobStatus;
    use gateway_core::progress::Progress;
    use serde_json::{Map, Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::gateway::{JobPage, PageWish, Problem, WorkflowInfo};

    /// A gateway that has outputs and nothing else: a picture is as many bytes as it has, and smaller forms a tenth of
    /// their side.
    struct Outputs;

    fn nothing<T>() -> Result<T, Problem> {
        Err(Problem::new("NOT_FOUND", "there is nothing else"))
    }

    impl Gateway for Outputs {
        async fn workflows(&self) -> Result<Vec<WorkflowInfo>, Problem> {
            nothing()
        }

        async fn submit(&self, _: &str, _: Map<String, Value>) -> Result<String, Problem> {
            nothing()
        }

        async fn follow(&self, _: &str, _: &watch::Sender<Progress>) -> Result<Option<Job>, Problem> {
            nothing()
        }

        async fn job(&self, _: &str) -> Result<Job, Problem> {
            nothing()
        }

        async fn jobs(&self, _: PageWish) -> Result<JobPage, Problem> {
            nothing()
        }

        async fn cancel(&self, _: &str) -> Result<JobStatus, Problem> {
            nothing()
        }

        async fn output(&self, _: &str, file: &str, form: Option<Form>) -> Result<Bytes, Problem> {
            let size = match form {
                Some(form) => usize::try_from(form.side).unwrap() / 10,
                None => file.split('.').next().unwrap().parse().unwrap_or(0),
            };
            if file.starts_with("broken") { nothing() } else { Ok(Bytes::from(vec![7; size])) }
        }

        fn url(&self, path: &str) -> String {
            format!("http://gateway{path}")
        }
    }

    /// A job with outputs whose names are their sizes.
    fn job(outputs: &[(&str, &str, u64)]) -> Job {
        let output = |(file, content_type, size): &(&str, &str, u64)| {
            let kind = if content_type.starts_with("image/") { "image" } else { "video" };
            json!({"file": file, "url": format!("/outputs/j/{file}"), "kind": kind, "contentType": content_type, "size": size})
        };
        serde_json::from_value(json!({
            "jobId": "j", "workflowId": "w", "status": "succeeded", "createdAt": "2026-11-24T00:00:00.000Z",
            "progress": {"percent": 100, "nodesDone": 1, "nodesTotal": 1}, "resolvedInputs": {"seed": 7},
            "outputs": outputs.iter().map(output).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    /// Lengths and media types of the pictures in the result, and its text.
    async fn result(outputs: &[(&str, &str, u64)], budget: u64) -> (Vec<(usize, String)>, String) {
        let content = content(&Outputs, &job(outputs), budget).await;
        let text = content[0].as_text().unwrap().text.clone();
        let picture = |block: &ContentBlock| {
            let image = block.as_image().unwrap();
            (STANDARD.decode(&image.data).unwrap().len(), image.mime_type.clone())
        };
        (content[1..].iter().map(picture).collect(), text)
    }

    fn of(length: usize, media: &str) -> (usize, String) {
        (length, media.to_owned())
    }

    #[tokio::test]
    async fn pictures_share_the_budget_and_are_shown_smaller_where_they_do_not_fit() {
        let (pictures, text) = result(&[("40.png", "image/png", 40), ("900.jpg", "image/jpeg", 900)], 150).await;
        assert_eq!(pictures, [of(40, "image/png"), of(102, "image/webp")]);
        assert!(text.starts_with(
            "Job j succeeded with seed 7.\n40.png (image/png, 40 bytes): http://gateway/outputs/j/40.png"
        ));
        assert!(text.contains("900.jpg (image/jpeg, 900 bytes, shown smaller): "), "{text}");
        let (pictures, _) = result(&[("900.png", "image/png", 900), ("901.png", "image/png", 901)], 150).await;
        assert_eq!(pictures, [of(51, "image/webp"), of(51, "image/webp")], "each has its share, and what others left");
    }

    #[tokio::test]
    async fn what_does_not_fit_or_is_no_picture_is_an_address() {
        let (pictures, text) = result(&[("900.png", "image/png", 900)], 50).await;
        assert_eq!(pictures, []);
        assert!(text.contains("900.png (image/png, 900 bytes): http://gateway/outputs/j/900.png"), "{text}");
        let others = [("9.mp4", "video/mp4", 9), ("8.tif", "image/tiff", 8), ("broken.png", "image/png", 7)];
        let (pictures, text) = result(&others, 1_000).await;
        assert_eq!((pictures, text.lines().count()), (Vec::new(), 4));
        assert_eq!(result(&[("0.png", "image/png", 0)], 0).await.0, []);
    }
}
