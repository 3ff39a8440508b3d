//! The committed OpenAPI and AsyncAPI documents are those of the code.

use std::{fs, path::PathBuf};

#[test]
fn the_committed_documents_are_fresh() {
    for (file, document) in [("openapi.json", gateway::openapi_json()), ("asyncapi.yaml", gateway::asyncapi_yaml())] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(file);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &document).expect("written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == document, "schemas/{file} is stale: run the test with UPDATE=1");
    }
}
