//! Hashes that make a changed, missing or added row of the ledger visible. Each row has its own hash; a posting's hash also
//! covers the hashes of its transfers and of the posting before it. Accounts and trades are not in that chain: the audit
//! compares them with it.
//!
//! The hashes have no key. Whoever can write around the database's constraints can also compute every hash anew, up to the
//! last posting. A hash of a posting that was noted elsewhere before reveals that.

use events::OrderRequest;
use sha2::{Digest, Sha256};

use crate::rows::{AccountRow, PostingRow, TradeRow, TransferRow};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Returns a hash in hexadecimal, as people note it.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes an account without its balance, which follows from the transfers.
pub fn account(row: &AccountRow) -> Hash {
    let user = row.user_id.map(|id| id.to_string()).unwrap_or_default();
    FieldText::default().field("account").field(row.id).field(&row.kind).field(user).field(&row.asset).hash()
}

/// Hashes a transfer.
pub fn transfer(row: &TransferRow) -> Hash {
    FieldText::default()
        .field("transfer")
        .field(row.posting_id)
        .field(row.number)
        .field(&row.asset)
        .field(row.from_account)
        .field(row.to_account)
        .field(row.amount.normalize())
        .hash()
}

/// Hashes a posting with the hashes of its transfers, in their order. The `previous_hash` of the first posting is empty.
pub fn posting(row: &PostingRow, transfers: impl IntoIterator<Item = Hash>) -> Hash {
    let head = FieldText::default()
        .field("posting")
        .field(row.id)
        .field(&row.kind)
        .field(row.user_id)
        .field(row.cause)
        .field(row.at.micros());
    let mut digest = Sha256::new();
    digest.update(&row.previous_hash);
    digest.update(head.0);
    for hash in transfers {
        digest.update(hash);
    }
    digest.finalize().into()
}

/// Hashes a trade.
pub fn trade(row: &TradeRow) -> Hash {
    FieldText::default()
        .field("trade")
        .field(row.order_id)
        .field(row.posting_id)
        .field(row.user_id)
        .field(&row.symbol)
        .field(&row.side)
        .field(row.size.normalize())
        .field(row.price.normalize())
        .field(row.quote_amount.normalize())
        .field(row.fee.normalize())
        .field(row.fee_bp)
        .field(row.tick_sequence)
        .field(row.tick_index)
        .field(row.tick_price.normalize())
        .field(row.tick_at.micros())
        .field(row.at.micros())
        .field(&row.tick_id)
        .hash()
}

/// Hashes the request of an order, as its canonical JSON, so that the audit finds a request that was changed. Orders keep the
/// fingerprint that they were saved with: a field that requests get later must be left out of the JSON where it is not set.
pub fn fingerprint(request: &OrderRequest) -> Result<Hash, serde_json::Error> {
    Ok(Sha256::digest(serde_json::to_vec(request)?).into())
}

/// The fields of a row as text, each followed by a bar, which none but the last may contain.
#[derive(Default)]
struct FieldText(String);

impl FieldText {
    fn field(mut self, field: impl std::fmt::Display) -> Self {
        self.0 += &format!("{field}|");
        self
    }

    fn hash(self) -> Hash {
        Sha256::digest(self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_a_request_never_changes() {
        let request = r#"{"type": "limit", "side": "buy", "symbol": "BTC-USD", "price": 4000, "size": "0.10",
            "client_order_id": "a-1"}"#;
        let hash = fingerprint(&serde_json::from_str(request).expect("a request")).expect("a hash");
        assert_eq!(hex(&hash), "6562ace3a459b566b66db4c48dc38cdb0e788d1df97fe347361458f11be293b5");
    }
}
