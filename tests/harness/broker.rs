//! A corner of a broker for one test: a fresh vhost on the shared one, or a node of its own.

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;
use xtask::rabbitmq::Node;

use crate::logins::LOGIN_ROLES;

/// Set by `cargo xtask test`: where the shared broker is.
const AMQP_URL: &str = "EMBERKEEP_TEST_AMQP_URL";
/// Set by `cargo xtask test` too: its management API. Unset, it is where RabbitMQ puts it.
const MANAGEMENT_URL: &str = "EMBERKEEP_TEST_MANAGEMENT_URL";

/// A vhost that lives as long as this value.
#[derive(Debug)]
pub struct Broker {
    amqp: Url,
    management: Url,
    vhost: String,
    own: Option<Own>,
}

/// A node that serves one test alone. The node ends before its files do.
#[derive(Debug)]
struct Own {
    node: Node,
    _directory: TempDir,
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a test needs from outside comes by environment"
)]
fn from_environment(variable: &str) -> Option<Url> {
    let url = std::env::var(variable).ok()?;
    let url = url.parse();
    Some(url.unwrap_or_else(|error| panic!("{variable}: {error}")))
}

fn usual_management_url(amqp: &Url) -> Url {
    let host = amqp.host_str().expect("an amqp url names a host");
    let url = format!("http://{host}:15672").parse();
    url.expect("a host makes a url")
}

impl Broker {
    /// A fresh vhost on the broker that `cargo xtask test` gives.
    pub async fn shared() -> Self {
        let amqp = from_environment(AMQP_URL).unwrap_or_else(|| {
            panic!("{AMQP_URL} is not set: system tests are started with `cargo xtask test`")
        });
        let management =
            from_environment(MANAGEMENT_URL).unwrap_or_else(|| usual_management_url(&amqp));
        Self::vhost_of(amqp, management, None).await
    }

    /// A node of its own, which the test may stop. `settings` are more lines of its configuration.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn private(settings: &str) -> Self {
        let directory = TempDir::with_prefix("emberkeep-broker-").expect("a directory can be made");
        let node = Node::start_bound(directory.path(), settings)
            .await
            .expect("a broker can be started");
        let parse = |url: String| url.parse().expect("a node has urls");
        let (amqp, management) = (parse(node.amqp_url()), parse(node.management_url()));
        let own = Own {
            node,
            _directory: directory,
        };
        Self::vhost_of(amqp, management, Some(own)).await
    }

    async fn vhost_of(mut amqp: Url, mut management: Url, own: Option<Own>) -> Self {
        if management.username().is_empty() {
            management
                .set_username(amqp.username())
                .and_then(|()| management.set_password(amqp.password()))
                .expect("an http url takes a login");
        }
        let vhost = format!("test-{}", Uuid::now_v7());
        amqp.set_path(&format!("/{vhost}"));
        let broker = Self {
            amqp,
            management,
            vhost,
            own,
        };
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let permissions = format!("permissions/{}/{}", broker.vhost, broker.user());
        broker
            .manage(Method::PUT, &format!("vhosts/{}", broker.vhost), json!({}))
            .await;
        broker.manage(Method::PUT, &permissions, all).await;
        broker
    }

    fn node(&mut self) -> &mut Node {
        let own = self.own.as_mut();
        &mut own.expect("only a private broker may be stopped").node
    }

    /// Stops a private node in good order.
    pub(crate) async fn stop(&mut self) {
        let stopped = self.node().stop().await;
        stopped.expect("the broker can be stopped");
    }

    /// Starts a stopped private node again, with what it kept.
    pub(crate) async fn start(&mut self) {
        let started = self.node().start_again().await;
        started.expect("the broker can be started again");
    }

    /// Kills a private node.
    pub(crate) async fn kill(&mut self) {
        let killed = self.node().kill().await;
        killed.expect("the broker can be killed");
    }

    /// Runs `rabbitmqctl` against a private node.
    ///
    /// # Panics
    /// When there is none, or the command fails.
    pub async fn control(&mut self, arguments: &[&str]) {
        let done = self.node().control(arguments).await;
        done.expect("rabbitmqctl does as it is told");
    }

    /// Host and port of AMQP.
    pub(crate) fn address(&self) -> String {
        let host = self.amqp.host_str().expect("an amqp url names a host");
        format!("{host}:{}", self.amqp.port().unwrap_or(5672))
    }

    /// The url of this vhost at another port of this machine.
    pub(crate) fn url_at(&self, address: std::net::SocketAddr) -> String {
        let mut url = self.amqp.clone();
        url.set_host(Some(&address.ip().to_string()))
            .and_then(|()| {
                url.set_port(Some(address.port()))
                    .map_err(|()| unreachable!())
            })
            .expect("an amqp url has a host and a port");
        url.into()
    }

    fn user(&self) -> &str {
        self.management.username()
    }

    /// What processes connect to.
    #[must_use]
    pub fn amqp_url(&self) -> &str {
        self.amqp.as_str()
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.vhost
    }

    pub(crate) async fn manage(&self, method: Method, path: &str, body: Value) -> Value {
        manage(self.management.clone(), method, path, body)
            .await
            .unwrap_or_else(|error| panic!("management API, {path}: {error:?}"))
    }

    /// Every queue that holds messages, ready or not acknowledged, with how many. The broker counts
    /// them anew every few seconds only.
    pub async fn held_messages(&self) -> Vec<(String, u64)> {
        let path = format!("queues/{}", self.vhost);
        let queues = self.manage(Method::GET, &path, Value::Null).await;
        let queues = queues.as_array().expect("a list of queues");
        queues
            .iter()
            .map(|queue| {
                let name = queue["name"].as_str().expect("a queue has a name");
                (name.to_owned(), queue["messages"].as_u64().unwrap_or(0))
            })
            .filter(|(_, messages)| *messages > 0)
            .collect()
    }

    /// Empties a queue; how many messages that were.
    ///
    /// # Panics
    /// When there is no such queue.
    pub async fn purge(&self, queue: &str) -> u32 {
        let (_connection, channel) = self.channel().await;
        let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
        purged.await.expect("the queue can be emptied")
    }

    /// Removes a queue under whoever uses it; how many messages went with it.
    ///
    /// # Panics
    /// When the broker does not do it.
    pub async fn delete_queue(&self, queue: &str) -> u32 {
        let (_connection, channel) = self.channel().await;
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.expect("the queue can be removed")
    }

    /// Lets every job queue hold so many messages only; `None`: as many as it was made for.
    pub async fn limit_job_queues(&self, messages: Option<u32>) {
        let path = format!("policies/{}/job-queues", self.vhost);
        let Some(messages) = messages else {
            self.manage(Method::DELETE, &path, Value::Null).await;
            return;
        };
        let policy = json!({
            "pattern": r"^bk\.v1\.job\.",
            "apply-to": "queues",
            "definition": {"max-length": messages},
        });
        self.manage(Method::PUT, &path, policy).await;
    }

    /// A channel of a connection of its own.
    pub(crate) async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(self.amqp_url(), ConnectionProperties::default())
            .await
            .expect("the broker takes connections");
        let channel = connection
            .create_channel()
            .await
            .expect("a connection has channels");
        (connection, channel)
    }

    /// Publishes to an exchange as another service would, and waits until the broker has it.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let (_connection, channel) = self.channel().await;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms can be asked for");
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(Uuid::now_v7().to_string().into())
            .with_delivery_mode(2);
        let confirm = channel
            .basic_publish(
                exchange.into(),
                routing_key.into(),
                BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                },
                body,
                properties,
            )
            .await
            .expect("a message can be sent")
            .await
            .expect("the broker answers");
        assert!(
            confirm.is_ack() && confirm.take_message().is_none(),
            "no queue takes `{routing_key}` on {exchange}"
        );
    }
}

async fn manage(
    mut url: Url,
    method: Method,
    path: &str,
    body: Value,
) -> Result<Value, reqwest::Error> {
    url.set_path(&format!("/api/{path}"));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut request = client.request(method, url);
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await?.error_for_status()?;
    let text = response.text().await?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

impl Drop for Broker {
    /// Removes the vhost and its logins. A drop cannot wait, so a thread with a runtime of its own does.
    fn drop(&mut self) {
        if self.own.is_some() {
            return;
        }
        let vhost = self.vhost.clone();
        let url = self.management.clone();
        let remove = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let remove = async |path: String| {
                    manage(url.clone(), Method::DELETE, &path, Value::Null).await
                };
                runtime.block_on(async {
                    for role in LOGIN_ROLES {
                        // Most tests make none.
                        drop(remove(format!("users/{vhost}-{role}")).await);
                    }
                    drop(remove(format!("vhosts/{vhost}")).await);
                });
            }
        };
        drop(std::thread::spawn(remove).join());
    }
}
