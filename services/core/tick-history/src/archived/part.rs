//! A part that is read batch by batch.

use std::{collections::VecDeque, sync::Arc};

use events::Timestamp;
use object_archive::{
    manifest::Part,
    parquet_part::PartError,
    part_file::PartFile,
    part_rows::PartRows,
    table::{RowBuffer, TICKS},
};
use store::market::export::Market;

use super::{ArchiveReader, decoders::Decoders, memory, tick::ArchivedTick};
use crate::HistoryError;

/// The rows that are decoded together.
const BATCH: usize = 1_000;

/// A part that was opened.
pub(super) struct OpenPart {
    decoders: Decoders,
    market: Arc<Market>,
    path: String,
    file: PartFile,
    /// What was not decoded yet; none at its end.
    rows: Option<PartRows>,
    ticks: VecDeque<ArchivedTick>,
    /// The number of ticks that were not decoded yet.
    rest: u64,
    /// The bytes of memory that were reserved for it.
    memory: u64,
}

impl OpenPart {
    /// Opens a part and decodes its first ticks, without most of those before `from`.
    pub(super) async fn open(
        archive: &ArchiveReader,
        market: Arc<Market>,
        folder: &str,
        part: Part,
        from: Timestamp,
    ) -> Result<Self, HistoryError> {
        let path = format!("{folder}/{}", part.name);
        let file = PartFile::open(&archive.target, path.clone(), &part).await?.map_err(HistoryError::Damaged)?;
        let source = file.clone();
        let work = archive.decoders.run(move || {
            let mut rows = PartRows::open(&TICKS, source)?;
            let skipped = rows.skip_before(from.micros());
            let batch = rows.next(BATCH)?;
            Ok((skipped, (rows, batch)))
        });
        let (ticks, rest, memory) = (VecDeque::new(), part.rows, memory::of_part(&part));
        let decoders = archive.decoders.clone();
        let mut opened = Self { decoders, market, path, file, rows: None, ticks, rest, memory };
        let decoded: Result<_, PartError> = work.await?;
        let decoded = decoded.map(|(skipped, decoded)| {
            opened.rest = opened.rest.saturating_sub(skipped);
            decoded
        });
        opened.accept(decoded)?;
        Ok(opened)
    }

    /// Returns the next tick; none behind the last one.
    pub(super) fn head(&self) -> Option<&ArchivedTick> {
        self.ticks.front()
    }

    /// Returns the bytes of memory that were reserved for it.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Takes the next tick, and decodes those behind it where it was the last that was decoded.
    pub(super) async fn take(&mut self) -> Result<Option<ArchivedTick>, HistoryError> {
        let tick = self.ticks.pop_front();
        if self.ticks.is_empty()
            && let Some(mut rows) = self.rows.take()
        {
            let work = self.decoders.run(move || {
                let batch = rows.next(BATCH)?;
                Ok((rows, batch))
            });
            let decoded = work.await?;
            self.accept(decoded)?;
        }
        Ok(tick)
    }

    fn accept(&mut self, decoded: Result<(PartRows, Option<RowBuffer>), PartError>) -> Result<(), HistoryError> {
        let (rows, batch) = decoded.map_err(|error| match self.file.take_failure() {
            Some(failure) => HistoryError::Archive(failure),
            None => self.damaged(&platform::runtime::error::error_chain(&error)),
        })?;
        let Some(batch) = batch else {
            return if self.rest == 0 {
                Ok(())
            } else {
                Err(self.damaged("it has fewer rows than the manifest states"))
            };
        };
        let rest = self.rest.checked_sub(batch.len() as u64);
        self.rest = rest.ok_or_else(|| self.damaged("it has more rows than the manifest states"))?;
        for row in 0..batch.len() {
            let tick = ArchivedTick::read(&self.market, &batch, row);
            self.ticks.push_back(tick.map_err(|detail| self.damaged(&format!("row {row} of a batch: {detail}")))?);
        }
        self.rows = Some(rows);
        Ok(())
    }

    fn damaged(&self, detail: &str) -> HistoryError {
        HistoryError::Damaged(format!("{}: {detail}", self.path))
    }
}
