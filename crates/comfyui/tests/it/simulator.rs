//! The client against the simulator: whole runs on every release, and faults that need a server with a memory.

use std::time::Duration;

use comfyui_client::{
    CallError, CancelSent, ClientConfig, ComfyClient, Event, EventStream, FailureClass, FileRef, HistoryEntry, Outcome,
    OutputItem, PreparedPrompt, SubmitError, SubmitOptions,
};
use comfyui_sim::{OomStyle, PreviewMethod, Profile, SimConfig, Simulator, Switches, ViewFault};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::server::DEADLINE;

async fn simulator(profile: Profile, switches: Switches) -> Simulator {
    Simulator::start(SimConfig { profile, switches, ..SimConfig::default() }).await.unwrap()
}

fn client(simulator: &Simulator) -> ComfyClient {
    ComfyClient::new(ClientConfig::new(&simulator.url()).unwrap()).unwrap()
}

fn prepare(graph: Value) -> PreparedPrompt {
    PreparedPrompt::prepare(graph.as_object().cloned().unwrap(), None).unwrap()
}

fn picture() -> PreparedPrompt {
    prepare(json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sub/x"}},
    }))
}

fn sampling(steps: u32) -> PreparedPrompt {
    prepare(json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": u64::MAX, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-random.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "pv"}},
    }))
}

fn under(stream: &EventStream) -> SubmitOptions {
    SubmitOptions { client_id: Some(stream.client_id().to_owned()), ..SubmitOptions::new() }
}

async fn next(stream: &mut EventStream) -> Event {
    timeout(DEADLINE, stream.next()).await.unwrap().unwrap().unwrap()
}

/// Events up to and including the first that fits.
async fn until(stream: &mut EventStream, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        events.push(next(stream).await);
        if events.last().is_some_and(&fits) {
            return events;
        }
    }
}

async fn ended(client: &ComfyClient, prompt_id: &str) -> HistoryEntry {
    let wait = async {
        loop {
            if let Some(entry) = client.history(prompt_id).await.unwrap() {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap()
}

fn first_file(entry: &HistoryEntry) -> FileRef {
    match &entry.outputs[0].item {
        OutputItem::File(file) => file.clone(),
        OutputItem::Text(text) => panic!("{text}"),
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Executing { node: None, prompt_id: Some(_), .. })
}

#[tokio::test]
async fn a_run_is_followed_from_probe_to_file_on_every_release() {
    for profile in Profile::ALL {
        let simulator = simulator(profile, Switches::default()).await;
        let client = client(&simulator);
        let known = client.probe().await.unwrap().capabilities;
        assert_eq!(known.own_prompt_ids, profile > Profile::V0_3_40, "{profile}");
        assert_eq!(known.targeted_interrupt, profile > Profile::V0_3_40, "{profile}");
        assert_eq!(
            (known.jobs_api, known.jobs_cancel),
            (profile >= Profile::V2026_01, profile >= Profile::V0_26),
            "{profile}"
        );
        let mut stream = client.connect_events().await.unwrap();
        let options = under(&stream);
        let accepted = client.submit(&picture(), &options).await.unwrap();
        assert_eq!(accepted.own_id, known.own_prompt_ids, "{profile}");
        assert_eq!(accepted.prompt_id == options.prompt_id.to_string(), known.own_prompt_ids, "{profile}");
        let events = until(&mut stream, is_end).await;
        assert!(events.contains(&Event::Success { prompt_id: accepted.prompt_id.clone() }), "{profile}: {events:?}");
        let entry = ended(&client, &accepted.prompt_id).await;
        assert_eq!((&entry.outcome, entry.outputs.len()), (&Outcome::Succeeded, 1), "{profile}");
        let file = first_file(&entry);
        assert_eq!((entry.outputs[0].node_id.as_str(), file.subfolder.as_str()), ("2", "sub"), "{profile}");
        let mut download = client.view(&file).await.unwrap();
        assert!(download.next_chunk().await.unwrap().unwrap().starts_with(b"\x89PNG"), "{profile}");
        client.delete_history(&accepted.prompt_id).await.unwrap();
        assert_eq!(client.history(&accepted.prompt_id).await.unwrap(), None, "{profile}");
    }
}

#[tokio::test]
async fn running_and_waiting_prompts_are_cancelled_on_every_release() {
    for profile in Profile::ALL {
        let simulator = simulator(profile, Switches { step_ms: 20, ..Switches::default() }).await;
        let client = client(&simulator);
        let mut stream = client.connect_events().await.unwrap();
        let running = client.submit(&sampling(1_000), &under(&stream)).await.unwrap().prompt_id;
        let waiting = client.submit(&picture(), &under(&stream)).await.unwrap().prompt_id;
        until(&mut stream, |event| matches!(event, Event::Progress { .. })).await;
        assert_eq!(client.cancel(&waiting, true).await.unwrap(), CancelSent::Dispatched, "{profile}");
        assert_eq!(client.queue().await.unwrap().find(&waiting), None, "{profile}");
        assert_eq!(client.cancel(&running, true).await.unwrap(), CancelSent::Dispatched, "{profile}");
        assert_eq!(ended(&client, &running).await.outcome, Outcome::Interrupted, "{profile}");
        assert_eq!(client.history(&waiting).await.unwrap(), None, "{profile}: a removed prompt leaves nothing behind");
        assert_eq!(client.cancel(&running, true).await.unwrap(), CancelSent::NotFound, "{profile}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_unknown_and_the_prompt_is_found_under_its_id() {
    let simulator = simulator(Profile::V0_3_64, Switches { lose_prompt_reply: 1, ..Switches::default() }).await;
    let client = client(&simulator);
    let options = SubmitOptions::new();
    let error = client.submit(&picture(), &options).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown(CallError::Cut { .. })), "{error:?}");
    assert_eq!(ended(&client, &options.prompt_id.to_string()).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn previews_arrive_with_metadata_once_the_server_agreed_to_it() {
    for method in [PreviewMethod::Jpeg, PreviewMethod::Png] {
        let simulator = simulator(Profile::V0_3_64, Switches { preview_method: method, ..Switches::default() }).await;
        let client = client(&simulator);
        let mut stream = client.connect_events().await.unwrap();
        let id = client.submit(&sampling(2), &under(&stream)).await.unwrap().prompt_id;
        let events = until(&mut stream, is_end).await;
        let previews: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Preview { prompt_id, node_id, .. } => Some((prompt_id.as_deref(), node_id.as_deref())),
                _ => None,
            })
            .collect();
        assert_eq!(previews, [(Some(id.as_str()), Some("3")); 2], "{method:?}");
    }
}

#[tokio::test]
async fn every_kind_of_memory_shortage_is_recognised() {
    use OomStyle::{Accelerator, Cpu, Cuda, CudaOld, Hip, Mps, Numpy, Python, Windows};
    for style in [Cuda, CudaOld, Accelerator, Hip, Mps, Cpu, Windows, Python, Numpy] {
        let switches = Switches { memory_limit_pixels: Some(1_000), oom_style: style, ..Switches::default() };
        let simulator = simulator(Profile::V0_3_64, switches).await;
        let client = client(&simulator);
        let id = client.submit(&sampling(1), &SubmitOptions::new()).await.unwrap().prompt_id;
        let Outcome::Failed(failure) = ended(&client, &id).await.outcome else { panic!("{style:?}") };
        assert_eq!(
            (failure.class, failure.node_id.as_deref()),
            (FailureClass::OutOfMemory, Some("3")),
            "{style:?}: {failure}"
        );
    }
}

#[tokio::test]
async fn broken_downloads_are_noticed() {
    let simulator = simulator(Profile::V0_3_64, Switches::default()).await;
    let client = client(&simulator);
    let id = client.submit(&picture(), &SubmitOptions::new()).await.unwrap().prompt_id;
    let file = first_file(&ended(&client, &id).await);
    simulator.update(|switches| switches.view_fault = ViewFault::WrongLength);
    let mut download = client.view(&file).await.unwrap();
    let error = loop {
        match download.next_chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("half a file looks whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CallError::Truncated { expected: Some(_), .. }), "{error:?}");
    simulator.update(|switches| switches.view_fault = ViewFault::Html);
    assert!(matches!(client.view(&file).await, Err(CallError::Misconfigured { .. })));
    simulator.update(|switches| switches.view_fault = ViewFault::Status502);
    assert!(client.view(&file).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn bare_non_numbers_in_the_history_do_not_hide_the_result() {
    let simulator = simulator(Profile::V0_3_64, Switches { nan_in_history: true, ..Switches::default() }).await;
    let client = client(&simulator);
    let id = client.submit(&picture(), &SubmitOptions::new()).await.unwrap().prompt_id;
    assert_eq!(ended(&client, &id).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_prefix_and_a_password_work_on_every_path_and_are_missed_when_absent() {
    let config = SimConfig {
        base_path: "/gpu/1".to_owned(),
        basic_auth: Some(("ann".to_owned(), "p@ss".to_owned())),
        ..SimConfig::default()
    };
    let simulator = Simulator::start(config).await.unwrap();
    let stranger = client(&simulator);
    assert!(matches!(stranger.probe().await, Err(CallError::Misconfigured { status: 401, .. })));
    assert!(stranger.connect_events().await.is_err());
    let url = simulator.url().replace("http://", "http://ann:p%40ss@");
    let client = ComfyClient::new(ClientConfig::new(&url).unwrap()).unwrap();
    client.probe().await.unwrap();
    let mut stream = client.connect_events().await.unwrap();
    client.submit(&picture(), &under(&stream)).await.unwrap();
    until(&mut stream, is_end).await;
}

#[tokio::test]
async fn a_crash_ends_the_stream_with_an_error_and_empties_the_server() {
    let simulator = simulator(Profile::V0_3_64, Switches { step_ms: 20, ..Switches::default() }).await;
    let client = client(&simulator);
    let mut stream = client.connect_events().await.unwrap();
    let id = client.submit(&sampling(1_000), &under(&stream)).await.unwrap().prompt_id;
    until(&mut stream, |event| matches!(event, Event::Progress { .. })).await;
    simulator.crash().await;
    let wait = async { while let Some(Ok(_)) = stream.next().await {} };
    timeout(DEADLINE, wait).await.unwrap();
    assert!(client.queue().await.unwrap_err().is_unreachable());
    simulator.restart().await.unwrap();
    assert!(client.queue().await.unwrap().is_empty());
    assert_eq!(client.history(&id).await.unwrap(), None);
}
