//! What `tickbell up` prints when everything runs.

use std::{net::SocketAddr, path::Path};

use crate::settings::Settings;

/// Returns the text for a newcomer: what runs, where it is, what to try first and how to stop.
pub(crate) fn text(settings: &Settings, data: &Path, address: SocketAddr) -> String {
    let mails = if settings.smtp.url.is_empty() {
        format!("{}/*.eml", settings.notifier.outbox_dir.display())
    } else {
        "sent by SMTP".to_owned()
    };
    let data = data.display();
    format!(
        "
Tickbell is up.

  page     http://{address}   (the API is at /v1, its documentation at /docs)
  mails    {mails}
  data     {data}   (addresses of the servers: {data}/env)

Create an alert, and wait for the first mail:

  curl -X POST http://{address}/v1/alerts -H 'content-type: application/json' \\
       -d '{{\"email\": \"you@example.com\", \"symbol\": \"BTC-USD\", \"percent\": \"2\"}}'

Press Ctrl-C to stop; the next start continues with the same data.
"
    )
}
