//! Logins of the broker with no more rights than they need.

use reqwest::Method;
use serde_json::{Value, json};

use crate::broker::Broker;

/// The definitions that a deployment loads into its broker.
const DEFINITIONS: &str = include_str!("../../deploy/rabbitmq/definitions.json");

/// What logins of tests are for; see [`Broker::login_name`].
pub(crate) const LOGIN_ROLES: [&str; 3] = ["publisher", "api-service", "backup-worker"];

/// Patterns of what a login may do in its vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// What it may declare and remove.
    pub configure: String,
    /// Where it may publish, and what it may bind.
    pub write: String,
    /// What it may consume, and bind to.
    pub read: String,
}

impl Permissions {
    /// What the deployment's definitions give to a user.
    ///
    /// # Panics
    /// When they do not name it exactly once.
    #[must_use]
    pub fn deployed(user: &str) -> Self {
        let definitions: Value = serde_json::from_str(DEFINITIONS).expect("definitions are JSON");
        let all = definitions["permissions"].as_array().expect("a list");
        let [own] = all
            .iter()
            .filter(|entry| entry["user"] == user)
            .collect::<Vec<_>>()[..]
        else {
            panic!("one entry for {user}");
        };
        let pattern = |name: &str| own[name].as_str().expect("a pattern").to_owned();
        Self {
            configure: pattern("configure"),
            write: pattern("write"),
            read: pattern("read"),
        }
    }

    /// What a service needs that publishes requests, and listens with queues named after its login.
    #[must_use]
    pub fn publisher(login: &str) -> Self {
        let own = format!(r"^{login}\..*");
        Self {
            configure: own.clone(),
            write: format!(r"{own}|^bk\.v1\.jobs$"),
            read: format!(r"{own}|^bk\.v1\.events$"),
        }
    }
}

impl Broker {
    /// The login that every stack of this broker takes requests from.
    #[must_use]
    pub fn publisher(&self) -> String {
        self.login_name("publisher")
    }

    /// Makes a login of its own for this vhost; its amqp url. It goes with the vhost.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn log_in(&self, login: &str, permissions: &Permissions) -> String {
        let secret = uuid::Uuid::now_v7().simple().to_string();
        let user = json!({"password": secret, "tags": ""});
        let patterns = json!({
            "configure": permissions.configure,
            "write": permissions.write,
            "read": permissions.read,
        });
        self.manage(Method::PUT, &format!("users/{login}"), user)
            .await;
        let path = format!("permissions/{}/{login}", self.vhost());
        self.manage(Method::PUT, &path, patterns).await;
        let mut url: reqwest::Url = self.amqp_url().parse().expect("it was a url");
        url.set_username(login)
            .and_then(|()| url.set_password(Some(&secret)))
            .expect("an amqp url takes a login");
        url.to_string()
    }

    /// The name of a login here: logins belong to the whole broker, and tests run side by side.
    #[must_use]
    pub fn login_name(&self, role: &str) -> String {
        format!("{}-{role}", self.vhost())
    }
}
