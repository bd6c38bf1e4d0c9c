use anyhow::Context;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;

/// Publishes a request with the login of the url, and waits for the answer. Repeat it with the same
/// request when you do not know whether it went out: `job_id` tells that it is the same.
pub(crate) async fn ask(
    url: &str,
    login: &str,
    key: &str,
    request: &Value,
) -> anyhow::Result<Value> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await?;

    // The answer comes to this very channel (direct reply-to), which listens before it asks.
    let here = "amq.rabbitmq.reply-to";
    let mut answers = channel
        .basic_consume(
            here.into(),
            "".into(),
            BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            },
            FieldTable::default(),
        )
        .await?;

    let properties = BasicProperties::default()
        .with_message_id(uuid::Uuid::now_v7().to_string().into())
        .with_type("emberkeep.request.v1".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2) // it outlives a restart of the broker
        .with_user_id(login.into()) // the broker takes no other than the connection's own
        .with_reply_to(here.into());
    let confirm = channel
        .basic_publish(
            "bk.v1.jobs".into(),
            key.into(),
            BasicPublishOptions::default(),
            request.to_string().as_bytes(),
            properties,
        )
        .await?
        .await?;
    anyhow::ensure!(confirm.is_ack(), "the queue is full; try again later");

    let answer = answers.next().await.context("the connection is gone")??;
    Ok(serde_json::from_slice(&answer.data)?)
}
