# The names of all secrets, and never a value: no value is in this state, in a plan or in git. Each secret is a JSON
# object whose keys are the environment variables of its Kubernetes Secret. `fill-secrets` writes the values.

locals {
  # Name -> keys. External Secrets copies tickbell/<environment>/<name> into the Secret tickbell-<name>; `nats` becomes
  # nats-passwords, and `nats-tls` keeps its name.
  secrets = {
    price-ingestor = ["NATS_URL", "DATABASE_URL"]
    alert-engine   = ["NATS_URL", "DATABASE_URL"]
    history-writer = ["NATS_URL", "DATABASE_URL"]
    archiver       = ["DATABASE_URL"]
    trade-settler  = ["NATS_URL", "DATABASE_URL"]
    notifier       = ["NATS_URL", "DATABASE_URL", "TICKBELL_LINKS__SECRET", "TICKBELL_SMTP__URL"]
    kafka-bridge   = ["NATS_URL", "DATABASE_URL"]
    gateway        = ["NATS_URL", "DATABASE_URL", "TICKBELL_LINKS__SECRET"]
    migrate        = ["NATS_URL", "DATABASE_URL"]
    # The server's side of the same passwords.
    nats = [
      "NATS_PASSWORD_PRICE_INGESTOR",
      "NATS_PASSWORD_ALERT_ENGINE",
      "NATS_PASSWORD_HISTORY_WRITER",
      "NATS_PASSWORD_TRADE_SETTLER",
      "NATS_PASSWORD_NOTIFIER",
      "NATS_PASSWORD_KAFKA_BRIDGE",
      "NATS_PASSWORD_GATEWAY",
      "NATS_PASSWORD_OPERATOR",
      "NATS_PASSWORD_JETSTREAM_CONTROLLER",
      "NATS_PASSWORD_SYSTEM",
    ]
    # For nats, nats.tickbell.svc and *.nats-headless, as server and client: infra/nats/certificate.cnf requests it.
    nats-tls  = ["tls.crt", "tls.key", "ca.crt"]
    telemetry = ["TICKBELL_TELEMETRY__SENTRY_DSN"]
    # For operators: `tickbell status`, `doctor` and `dlq`.
    operator = ["NATS_URL", "DATABASE_URL"]
    # The exporter's role, tickbell_monitor.
    monitor = ["DATABASE_URL"]
  }
}

resource "aws_secretsmanager_secret" "this" {
  # checkov:skip=CKV2_AWS_57: A password here has two sides (server and client); they are changed together by hand.
  for_each = local.secrets

  name                    = "tickbell/${var.environment}/${each.key}"
  description             = "JSON with ${join(", ", each.value)}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_days
}

# Administrators of the account can write values and change this policy, but not read a value in passing.
data "aws_iam_policy_document" "readers" {
  statement {
    sid       = "OnlyTheseRead"
    effect    = "Deny"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = var.reader_role_arns
    }
  }
}

resource "aws_secretsmanager_secret_policy" "this" {
  for_each = local.secrets

  secret_arn          = aws_secretsmanager_secret.this[each.key].arn
  policy              = data.aws_iam_policy_document.readers.json
  block_public_policy = true
}
