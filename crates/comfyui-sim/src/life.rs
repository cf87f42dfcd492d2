//! One life of the server process: everything that a crash loses.
//! Holds the queue, the history and the sockets; what outlives a crash is in `App`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::ws::Message;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::clock;
use crate::config::Profile;
use crate::heap::{Heap, Item, NotComparable};
use crate::history::{Finished, History};
use crate::hub::{Hub, Kind, Outbox};
use crate::pyjson;
use crate::switches::Switches;
use crate::sync::{Random, lock};

/// The prompt that runs.
pub(crate) struct Running {
    pub(crate) item: Arc<Item>,
    /// The node that runs, shown to a client that connects again.
    pub(crate) node: Option<String>,
    pub(crate) since: i64,
}

/// What the queue's lock guards.
pub(crate) struct Queue {
    pub(crate) heap: Heap,
    pub(crate) running: Option<Running>,
    pub(crate) history: History,
    /// The next number to give out.
    pub(crate) counter: i64,
    pub(crate) random: Random,
}

impl Queue {
    /// Waiting and running prompts.
    pub(crate) fn remaining(&self) -> usize {
        self.heap.len() + usize::from(self.running.is_some())
    }
}

/// What `/free` asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Free {
    pub(crate) memory: bool,
    pub(crate) models: bool,
}

/// One life of the process.
pub(crate) struct Life {
    pub(crate) app: Arc<App>,
    /// The release that this life behaves as.
    pub(crate) profile: Profile,
    pub(crate) token: CancellationToken,
    pub(crate) tracker: TaskTracker,
    pub(crate) hub: Hub,
    queue: Mutex<Queue>,
    wake: Notify,
    begun: Notify,
    interrupt: Mutex<Option<Instant>>,
    free: Mutex<Free>,
    worker_dead: AtomicBool,
}

impl Life {
    pub(crate) fn new(app: Arc<App>) -> (Arc<Self>, Outbox) {
        let (hub, outbox) = Hub::new();
        let queue = Queue {
            heap: Heap::default(),
            running: None,
            history: History::default(),
            counter: 0,
            random: Random::new(app.config.seed),
        };
        let life = Self {
            profile: app.switches().profile.unwrap_or(app.config.profile),
            app,
            token: CancellationToken::new(),
            tracker: TaskTracker::new(),
            hub,
            queue: Mutex::new(queue),
            wake: Notify::new(),
            begun: Notify::new(),
            interrupt: Mutex::default(),
            free: Mutex::default(),
            worker_dead: AtomicBool::new(false),
        };
        (Arc::new(life), outbox)
    }

    pub(crate) fn switches(&self) -> Arc<Switches> {
        self.app.switches()
    }

    pub(crate) fn now(&self) -> i64 {
        clock::timestamp(self.switches().clock_skew_ms)
    }

    /// Looks at or changes the queue. The closure must not block.
    pub(crate) fn with_queue<T>(&self, action: impl FnOnce(&mut Queue) -> T) -> T {
        action(&mut lock(&self.queue))
    }

    /// The next number that a prompt without one gets.
    pub(crate) fn take_number(&self) -> i64 {
        self.with_queue(|queue| {
            queue.counter += 1;
            queue.counter - 1
        })
    }

    fn broadcast_status(&self, queue: &Queue) {
        if self.hub.has_listener(None) {
            let text = format!(
                "{{\"type\": \"status\", \"data\": {{\"status\": {{\"exec_info\": {{\"queue_remaining\": {}}}}}}}}}",
                queue.remaining()
            );
            self.hub.send(None, Kind::Event, Message::text(text));
        }
    }

    /// Queues a prompt; after an error it is queued all the same.
    pub(crate) fn enqueue(&self, item: Arc<Item>) -> Result<(), NotComparable> {
        self.app.stats.change(|stats| stats.prompts_accepted += 1);
        let result = self.with_queue(|queue| {
            let result = queue.heap.push(item);
            if result.is_ok() {
                self.broadcast_status(queue);
            }
            result
        });
        self.wake.notify_one();
        result
    }

    /// Removes waiting prompts, one for each id.
    pub(crate) fn delete(&self, prompt_ids: &[&str]) -> usize {
        let mut removed = 0;
        self.with_queue(|queue| {
            for prompt_id in prompt_ids {
                let was_last = queue.heap.len() == 1;
                if queue.heap.remove(prompt_id).is_some() {
                    removed += 1;
                    self.broadcast_status(queue);
                    if was_last {
                        self.broadcast_status(queue);
                    }
                }
            }
        });
        removed
    }

    pub(crate) fn clear_queue(&self) {
        self.with_queue(|queue| {
            queue.heap.clear();
            self.broadcast_status(queue);
        });
    }

    /// Takes the next prompt; it runs from now on.
    pub(crate) fn take(&self) -> Option<Arc<Item>> {
        let since = self.now();
        self.with_queue(|queue| {
            let item = queue.heap.pop()?;
            queue.running = Some(Running { item: item.clone(), node: None, since });
            self.broadcast_status(queue);
            Some(item)
        })
    }

    pub(crate) fn set_node(&self, node: Option<&str>) {
        self.with_queue(|queue| {
            if let Some(running) = &mut queue.running {
                running.node = node.map(str::to_owned);
            }
        });
    }

    /// The running prompt is over.
    pub(crate) fn finish(&self, finished: Finished) {
        let switches = self.switches();
        self.with_queue(|queue| {
            queue.running = None;
            if !switches.evict_history {
                queue.history.insert(Arc::new(finished), switches.history_cap);
            }
            self.broadcast_status(queue);
        });
    }

    /// The first messages of a new socket, and its registration, so that no event comes in between.
    pub(crate) fn connect(&self, sid: &str, socket: &Arc<crate::hub::Socket>) {
        self.with_queue(|queue| {
            let status = json!({"type": "status",
                "data": {"status": {"exec_info": {"queue_remaining": queue.remaining()}}, "sid": sid}});
            let mut first = vec![Message::text(pyjson::to_string(&status))];
            let running = queue.running.as_ref().filter(|running| running.item.client_id() == Some(sid));
            if let Some(node) = running.and_then(|running| running.node.as_deref()) {
                let executing = json!({"type": "executing", "data": {"node": node}});
                first.push(Message::text(pyjson::to_string(&executing)));
            }
            self.hub.register(sid, socket, first);
        });
    }

    /// Interrupts what runs now. With an id only if it is the one.
    pub(crate) fn interrupt(&self, prompt_id: Option<&str>) -> bool {
        self.with_queue(|queue| {
            let running = queue.running.as_ref();
            let hit = match prompt_id {
                Some(id) => running.is_some_and(|running| running.item.prompt_id == id),
                None => true,
            };
            if hit {
                let delay = Duration::from_millis(self.switches().interrupt_delay_ms);
                *lock(&self.interrupt) = Some(Instant::now() + delay);
            }
            hit
        })
    }

    /// A prompt begins: what was interrupted before does not count.
    pub(crate) fn begin(&self) {
        *lock(&self.interrupt) = None;
        self.begun.notify_waiters();
    }

    /// Ends when the next prompt begins.
    pub(crate) fn begun(&self) -> tokio::sync::futures::Notified<'_> {
        self.begun.notified()
    }

    /// Whether an interrupt is noticed now; noticing ends it.
    pub(crate) fn is_interrupted(&self) -> bool {
        let mut interrupt = lock(&self.interrupt);
        let due = interrupt.is_some_and(|due| due <= Instant::now());
        if due {
            *interrupt = None;
        }
        due
    }

    pub(crate) fn ask_free(&self, free: Free) {
        let mut asked = lock(&self.free);
        asked.memory |= free.memory;
        asked.models |= free.models;
        drop(asked);
        self.wake.notify_one();
    }

    pub(crate) fn take_free(&self) -> Free {
        std::mem::take(&mut lock(&self.free))
    }

    /// From now on nothing runs, until the process is started again.
    pub(crate) fn kill_worker(&self) {
        self.worker_dead.store(true, Ordering::Relaxed);
    }

    /// Waits for work. Never returns while nothing runs any more.
    pub(crate) async fn wait_for_work(&self) {
        self.wake.notified().await;
    }

    /// Waits as long as the worker does nothing although it should.
    pub(crate) async fn wait_while_zombie(&self) {
        if self.worker_dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut switches = self.app.watch();
        let _ = switches.wait_for(|switches| !switches.zombie).await;
    }

    /// Every entry of the running and waiting prompts, for `GET /queue`.
    pub(crate) fn listing(&self, hidden: &[&str]) -> Value {
        self.with_queue(|queue| {
            let running: Vec<Value> = queue.running.iter().map(|running| running.item.to_json(hidden)).collect();
            let pending: Vec<Value> = queue.heap.iter().map(|item| item.to_json(hidden)).collect();
            json!({"queue_running": running, "queue_pending": pending})
        })
    }
}
