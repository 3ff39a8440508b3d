//! Hashes that make a changed, missing or added row of the ledger visible. Each row has its own; a posting's covers its
//! transfers' and the posting before it. Accounts and trades are not in that chain: what they say is compared with it.
//!
//! There is no key: whoever can write past the database's lines can also compute hashes anew, up to the last posting. That
//! is found by a hash that was noted elsewhere before.

use sha2::{Digest, Sha256};
use store::trading::settlement::{AccountRow, PostingRow, TradeRow, TransferRow};

/// SHA-256.
pub type Hash = [u8; 32];

/// Fields as text with a bar behind each, which none of them holds.
#[derive(Default)]
struct Text(String);

impl Text {
    fn field(mut self, field: impl std::fmt::Display) -> Self {
        self.0 += &format!("{field}|");
        self
    }

    fn hash(self) -> Hash {
        Sha256::digest(self.0).into()
    }
}

/// As people note it.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an account is; not what is in it, which its transfers say.
pub fn account(row: &AccountRow) -> Hash {
    let user = row.user_id.map(|id| id.to_string()).unwrap_or_default();
    Text::default().field("account").field(row.id).field(&row.kind).field(user).field(&row.asset).hash()
}

/// One transfer.
pub fn transfer(row: &TransferRow) -> Hash {
    Text::default()
        .field("transfer")
        .field(row.posting_id)
        .field(row.number)
        .field(&row.asset)
        .field(row.from_account)
        .field(row.to_account)
        .field(row.amount.normalize())
        .hash()
}

/// A posting, with the hashes of its transfers in their order. The first one's `previous_hash` is empty.
pub fn posting(row: &PostingRow, transfers: impl IntoIterator<Item = Hash>) -> Hash {
    let head = Text::default()
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

/// One trade.
pub fn trade(row: &TradeRow) -> Hash {
    Text::default()
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
        .field(row.tick_sequence)
        .field(row.tick_price.normalize())
        .field(row.at.micros())
        .hash()
}
