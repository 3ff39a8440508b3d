# PostgreSQL, the book of record for rules and deliveries. Terraform makes the instance and its administrator only;
# the roles of Tickbell are made by SQL (README.md), with passwords that Terraform never sees.

data "aws_partition" "current" {}

locals {
  service_policies = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role"
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Subnets without a route to the internet"
  subnet_ids  = values(var.subnet_ids)
}

resource "aws_security_group" "this" {
  name        = "${var.name}-postgres"
  description = "PostgreSQL, from the cluster only, without egress"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-postgres" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL from the nodes and pods of the cluster"
  referenced_security_group_id = var.client_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  description = "PostgreSQL ${var.postgres_version} for ${var.name}"
  family      = "postgres${var.postgres_version}"

  dynamic "parameter" {
    for_each = {
      # No connection without TLS, no password that is not SCRAM.
      "rds.force_ssl"                     = "1"
      "rds.accepted_password_auth_method" = "scram"
      "password_encryption"               = "scram-sha-256" # checkov:skip=CKV_SECRET_6: A method, not a password.
      # What tells a slow day from a broken one. Statements are logged without their values.
      "log_min_duration_statement"  = "500"
      "log_parameter_max_length"    = "0"
      "log_lock_waits"              = "1"
      "log_temp_files"              = "10240"
      "log_autovacuum_min_duration" = "10000"
      "log_connections"             = "1"
      "log_disconnections"          = "1"
      "pg_stat_statements.track"    = "all"
      # A client that died inside a transaction holds its locks for a minute at most.
      "idle_in_transaction_session_timeout" = "60000"
      "lock_timeout"                        = "30000"
      # The tables of ticks only grow; their statistics must keep up.
      "autovacuum_vacuum_insert_scale_factor" = "0.05"
      "autovacuum_analyze_scale_factor"       = "0.02"
    }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  # These two count from the next restart on.
  dynamic "parameter" {
    for_each = {
      "max_connections"          = tostring(var.max_connections)
      "shared_preload_libraries" = "pg_stat_statements,auto_explain"
    }

    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = "pending-reboot"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  name                 = "${var.name}-rds-monitoring"
  description          = "RDS writes the instance's operating system metrics"
  assume_role_policy   = data.aws_iam_policy_document.monitoring_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "${local.service_policies}/AmazonRDSEnhancedMonitoringRole"
}

# RDS would make it without a key and for ever.
resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}

resource "aws_db_instance" "this" {
  # checkov:skip=CKV_AWS_157: Staging saves the standby; production sets multi_az (a test holds it to that).
  # checkov:skip=CKV_AWS_293: Staging may be destroyed; production sets deletion_protection (a test holds it to that).
  identifier            = var.name
  engine                = "postgres"
  engine_version        = var.postgres_version
  instance_class        = var.instance_class
  db_name               = "tickbell"
  port                  = 5432
  ca_cert_identifier    = "rds-ca-rsa2048-g1"
  parameter_group_name  = aws_db_parameter_group.this.name
  copy_tags_to_snapshot = true

  storage_type          = "gp3"
  allocated_storage     = var.storage_gb.initial
  max_allocated_storage = var.storage_gb.maximum
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = var.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false

  # RDS makes the administrator's password, keeps it in Secrets Manager and changes it every week.
  username                            = "postgres_admin"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.kms_key_arn
  iam_database_authentication_enabled = var.iam_authentication

  # Continuous: any second of these days can be restored.
  backup_retention_period   = var.backup_days
  backup_window             = "01:00-02:00"
  maintenance_window        = "sun:02:30-sun:03:30"
  delete_automated_backups  = !var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-final" : null
  deletion_protection       = var.deletion_protection

  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  apply_immediately           = false

  database_insights_mode                = "standard"
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.monitoring.arn
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy_attachment.monitoring,
  ]
}
