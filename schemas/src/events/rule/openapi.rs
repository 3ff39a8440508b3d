//! OpenAPI schemas of the parts of a rule that check themselves when they are read.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema},
};

use super::{Baseline, PriceThreshold};
use crate::openapi::{DecimalInput, text_schema};

impl PartialSchema for Baseline {
    fn schema() -> RefOr<Schema> {
        let description = "The price that a change is measured against: that of the `previous` tick, the `anchor` (the \
            price when the rule became active or last fired; the default), or the price a window from `10s` to `7d` ago.";
        text_schema::<Self>(description, "1h").into()
    }
}

impl ToSchema for Baseline {
    fn name() -> Cow<'static, str> {
        "Baseline".into()
    }
}

/// Derived, it would refuse a number in a request.
impl PartialSchema for PriceThreshold {
    fn schema() -> RefOr<Schema> {
        let form = |name: &str, description: &str| {
            ObjectBuilder::new()
                .description(Some(description))
                .property(name, Ref::from_schema_name(DecimalInput::name()))
                .required(name)
        };
        OneOfBuilder::new()
            .description(Some("A price that is reached or passed: `above` or `below`."))
            .item(form("above", "The price is at or above this."))
            .item(form("below", "The price is at or below this."))
            .into()
    }
}

impl ToSchema for PriceThreshold {
    fn name() -> Cow<'static, str> {
        "PriceThreshold".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((DecimalInput::name().into(), DecimalInput::schema()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Change;

    #[test]
    fn a_request_may_leave_out_what_has_a_default() {
        let schema = serde_json::to_value(Change::schema()).expect("JSON");
        assert_eq!(schema["required"], serde_json::json!(["percent"]));
    }
}
