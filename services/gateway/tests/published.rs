//! The committed OpenAPI document is that of the code.

use std::{fs, path::PathBuf};

#[test]
fn the_committed_document_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    let document = gateway::openapi_json();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &document).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "schemas/openapi.json is stale: run the test with UPDATE=1");
}
