use serde_json::json;

use super::*;

const ALLOWED: &[&str] = &["volume_id", "name", "description", "force", "metadata"];

fn fields(body: &Value) -> Result<Fields<'_>, Invalid> {
    Fields::of(body, "backup", &[], ALLOWED, &["volume_id"])
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
    result.unwrap_err().0
}

#[test]
fn the_top_of_a_body_has_exactly_one_member() {
    assert_eq!(
        refusal(fields(&json!({}))),
        "'backup' is a required property"
    );
    assert_eq!(
        refusal(fields(&json!({"backup": {"volume_id": "x"}, "x": 1}))),
        "Additional properties are not allowed ('x' was unexpected)"
    );
    assert_eq!(refusal(fields(&json!([]))), "[] is not of type 'object'");
    assert_eq!(
        refusal(fields(&json!({"backup": null}))),
        "Invalid input for field/attribute backup. Value: None. None is not of type 'object'"
    );
}

#[test]
fn unknown_and_missing_members_are_named() {
    assert_eq!(
        refusal(fields(&json!({"backup": {"name": "x"}}))),
        "Invalid input for field/attribute backup. Value: {'name': 'x'}. \
         'volume_id' is a required property"
    );
    assert_eq!(
        refusal(fields(
            &json!({"backup": {"volume_id": "v", "colour": "red", "taste": 1}})
        )),
        "Invalid input for field/attribute backup. Value: {'colour': 'red', 'taste': 1, \
         'volume_id': 'v'}. Additional properties are not allowed ('colour', 'taste' were \
         unexpected)"
    );
}

#[test]
fn texts_have_a_type_and_a_length() {
    let long = "n".repeat(256);
    let body = json!({"backup": {"volume_id": 1, "name": 7, "description": long}});
    let given = fields(&body).unwrap();
    assert_eq!(
        refusal(given.name("name")),
        "Invalid input for field/attribute name. Value: 7. 7 is not of type 'string', 'null'"
    );
    assert!(refusal(given.description("description")).ends_with("nnn' is too long"));
    assert_eq!(given.text("absent"), Ok(None));
    let body = json!({"backup": {"volume_id": 1, "name": "ü".repeat(255), "description": null}});
    let given = fields(&body).unwrap();
    assert_eq!(given.name("name").unwrap().unwrap().unwrap().len(), 510);
    assert_eq!(given.description("description"), Ok(Some(None)));
}

#[test]
fn names_are_trimmed_and_descriptions_can_be_printed() {
    let body = json!({"backup": {"volume_id": 1, "name": "  two words ", "description": "a\nb"}});
    let fields = fields(&body).unwrap();
    assert_eq!(fields.name("name"), Ok(Some(Some("two words".to_owned()))));
    assert!(fields.description("description").is_err());
}

#[test]
fn booleans_come_as_words_too_but_not_as_numbers() {
    for (value, meant) in [
        (json!(true), true),
        (json!("On"), true),
        (json!("t"), true),
        (json!("n"), false),
        (json!(false), false),
    ] {
        let body = json!({"backup": {"volume_id": 1, "force": value}});
        assert_eq!(fields(&body).unwrap().boolean("force"), Ok(meant));
    }
    for bad in [json!(1), json!(null), json!("tRuE"), json!("")] {
        let body = json!({"backup": {"volume_id": 1, "force": bad}});
        assert!(fields(&body).unwrap().boolean("force").is_err(), "{bad}");
    }
    let body = json!({"backup": {"volume_id": 1, "force": "maybe"}});
    assert_eq!(
        refusal(fields(&body).unwrap().boolean("force")),
        "Invalid input for field/attribute force. Value: maybe. 'maybe' is not one of [True, \
         'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', 'y', 't', False, \
         'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no', 'n', 'f']"
    );
}

#[test]
fn ids_are_uuids_in_any_spelling() {
    for good in [
        "4361bde6-476f-431f-a3e9-e484bc20e5ed",
        "4361BDE6476F431FA3E9E484BC20E5ED",
    ] {
        let body = json!({"backup": {"volume_id": good}});
        let fields = fields(&body).unwrap();
        assert_eq!(fields.required_uuid("volume_id"), Ok(good.to_owned()));
    }
    let body = json!({"backup": {"volume_id": "abc"}});
    assert_eq!(
        refusal(fields(&body).unwrap().required_uuid("volume_id")),
        "Invalid input for field/attribute volume_id. Value: abc. 'abc' is not a 'uuid'"
    );
    let body = json!({"backup": {"volume_id": null}});
    assert!(fields(&body).unwrap().required_uuid("volume_id").is_err());
}

#[test]
fn metadata_has_plain_keys_and_text_values() {
    let body = json!({"backup": {"volume_id": 1, "metadata": {"a/b c": "ü"}}});
    let metadata = fields(&body).unwrap().metadata("metadata").unwrap();
    assert_eq!(metadata.unwrap()["a/b c"], "ü");
    let body = json!({"backup": {"volume_id": 1, "metadata": {"a$b": "v"}}});
    assert_eq!(
        refusal(fields(&body).unwrap().metadata("metadata")),
        "Invalid input for field/attribute metadata. Value: {'a$b': 'v'}. 'a$b' does not \
         match any of the regexes: '^[a-zA-Z0-9-_:. /]{1,255}$'"
    );
    let body = json!({"backup": {"volume_id": 1, "metadata": {"a": 1}}});
    assert_eq!(
        refusal(fields(&body).unwrap().metadata("metadata")),
        "Invalid input for field/attribute a. Value: 1. 1 is not of type 'string'"
    );
    let body = json!({"backup": {"volume_id": 1, "metadata": {"": "v"}}});
    assert!(fields(&body).unwrap().metadata("metadata").is_err());
}

#[test]
fn sizes_are_whole_and_at_least_one() {
    let size = |value: Value| {
        let body = json!({"volume": {"size": value}});
        Fields::of(&body, "volume", &[], &["size"], &[])
            .unwrap()
            .number("size", 1)
    };
    assert_eq!(size(json!(3)), Ok(Some(3)));
    assert_eq!(size(json!("3")), Ok(Some(3)));
    assert_eq!(size(json!(null)), Ok(None));
    assert_eq!(
        refusal(size(json!(0))),
        "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1"
    );
    for bad in [
        json!(1.5),
        json!("x"),
        json!(""),
        json!(true),
        json!(5_000_000_000_u64),
    ] {
        assert!(size(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn an_action_body_names_one_action() {
    let body = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(sole_member(&body).unwrap().0, "os-reset_status");
    for bad in [json!({}), json!({"a": 1, "b": 2}), json!([]), json!("x")] {
        assert_eq!(refusal(sole_member(&bad)), "Malformed request body");
    }
}
