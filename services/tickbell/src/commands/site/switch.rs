//! Which copy is live: it is switched after a check, and switched back when the check after the switch fails.

use anyhow::{Context, ensure};
use platform::clock;
use price_page::Colour;

use super::{check::HealthCheck, pointer::Pointer};

/// What came of a switch.
pub(super) enum Switched {
    /// The copy is live, and healthy.
    Live(Colour),
    /// It was live before.
    Already(Colour),
    /// The copy is not healthy, so nothing was changed.
    Unhealthy {
        /// The copy that stays live.
        live: Option<Colour>,
        /// What is wrong with the other one.
        error: anyhow::Error,
    },
    /// The copy turned out not to be healthy for its readers, and the pointer was taken back.
    TakenBack {
        /// The copy that is live again.
        live: Option<Colour>,
        /// What is wrong with the other one.
        error: anyhow::Error,
    },
}

/// Makes the copy live that was idle when the pointer was read. With `release`, a program of that commit must have written it.
pub(super) async fn promote(
    check: &HealthCheck<'_>,
    pointer: &Pointer,
    release: Option<&str>,
) -> anyhow::Result<Switched> {
    if let Some(release) = release
        && let Some(live) = pointer.live()
        && check.check(live.live).await.is_ok_and(|document| document.commit == release)
    {
        return Ok(Switched::Already(live.live));
    }
    let idle = pointer.idle();
    let checked = check.check(idle).await.and_then(|document| {
        let commit = &document.commit;
        ensure!(
            release.is_none_or(|release| release == commit),
            "{idle} was written by a program of commit {commit:?}, not of {}",
            release.unwrap_or_default()
        );
        Ok(())
    });
    let former = pointer.live().map(|pointer| pointer.live);
    switch(check, pointer, (idle, former), checked).await
}

/// Makes the copy live that was live before the last promotion. A second rollback changes nothing.
pub(super) async fn roll_back(check: &HealthCheck<'_>) -> anyhow::Result<Switched> {
    let pointer = Pointer::read(check.target).await?;
    let live = pointer.live().context("no copy is live, so there is nothing to roll back")?;
    let Some(former) = live.former else { return Ok(Switched::Already(live.live)) };
    switch(check, &pointer, (former, None), check.check(former).await.map(drop)).await
}

/// Switches to a copy that was checked, and back when it is not healthy for its readers.
async fn switch(
    check: &HealthCheck<'_>,
    pointer: &Pointer,
    (to, former): (Colour, Option<Colour>),
    checked: anyhow::Result<()>,
) -> anyhow::Result<Switched> {
    let before = pointer.live();
    let live = before.map(|before| before.live);
    if let Err(error) = checked {
        return Ok(Switched::Unhealthy { live, error });
    }
    let switched = pointer.switch(check.target, to, former, clock::now()).await?;
    let Err(error) = check.check_live(to).await else { return Ok(Switched::Live(to)) };
    let taken_back = match before {
        Some(before) => switched.switch(check.target, before.live, before.former, clock::now()).await.map(drop),
        None => Pointer::remove(check.target).await,
    };
    taken_back.with_context(|| {
        format!("{to} is live and not healthy ({error:#}), and the pointer could not be taken back")
    })?;
    Ok(Switched::TakenBack { live, error })
}
