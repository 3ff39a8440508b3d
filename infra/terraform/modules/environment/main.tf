# One environment, whole. Staging and production both call this and nothing else, so they differ in sizes only.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

data "aws_availability_zones" "available" {
  state = "available"

  # No local zones: they have no RDS and no load balancers.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  name      = "tickbell-${var.environment}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  zones     = slice(sort(data.aws_availability_zones.available.names), 0, 3)

  secrets = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret"

  # Made once per account (infra/terraform/account).
  autoscaling = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
  boundary    = "arn:${local.partition}:iam::${local.account}:policy/tickbell-boundary"
}

module "keys" {
  source = "../kms"

  name                 = local.name
  deletion_window_days = var.protected ? 30 : 7

  purposes = {
    alarms = {
      description = "topics of alarms"
      services    = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]
    }
    archive  = { description = "the history as files" }
    backups  = { description = "backups of databases" }
    cluster  = { description = "Kubernetes' secrets" }
    database = { description = "disk and snapshots of PostgreSQL" }
    logs     = { description = "log groups", log_groups = true }
    search   = { description = "disks of OpenSearch" }
    secrets  = { description = "Secrets Manager" }
    volumes = {
      description = "disks of nodes and pods"
      roles = [
        "arn:${local.partition}:iam::${local.account}:role/${local.autoscaling}",
      ]
    }
  }
}

# Named apart, so that us-east-1 can be the home region too.
module "global_keys" {
  source = "../kms"

  name                 = "${local.name}-global"
  region               = "us-east-1"
  deletion_window_days = var.protected ? 30 : 7

  purposes = {
    alarms = {
      description = "topics of alarms about CloudFront and Route 53"
      services    = ["cloudwatch.amazonaws.com"]
    }
  }
}

module "network" {
  source = "../network"

  name                = local.name
  cidr                = var.cidr
  zones               = local.zones
  nat_per_zone        = var.nat_per_zone
  flow_log_bucket_arn = module.logs.arn
}

module "cluster" {
  source = "../eks"

  name                = local.name
  kubernetes_version  = var.kubernetes.version
  addon_versions      = var.kubernetes.addons
  subnet_ids          = module.network.private_subnet_ids
  public_access_cidrs = var.api_access_cidrs
  services_pool       = var.services_pool
  stateful_pool       = var.stateful_pool
  admin_role_arns     = var.people.admin_role_arns

  group_role_arns = {
    tickbell-deployers = [module.deploy_role.arn]
    tickbell-readers   = var.people.reader_role_arns
  }

  kms_key_arns = {
    cluster = module.keys.arns["cluster"]
    volumes = module.keys.arns["volumes"]
    logs    = module.keys.arns["logs"]
  }

  log_retention_days       = var.log_retention_days
  deletion_protection      = var.protected
  permissions_boundary_arn = local.boundary
}

module "ingress" {
  source = "../ingress"

  name                   = local.name
  vpc_id                 = module.network.vpc_id
  node_security_group_id = module.cluster.node_security_group_id
  log_kms_key_arn        = module.keys.arns["logs"]
  log_retention_days     = var.log_retention_days
}

module "database" {
  source = "../rds"

  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.database_subnet_ids
  client_security_group_id = module.cluster.node_security_group_id
  instance_class           = var.database.instance_class
  multi_az                 = var.database.multi_az
  backup_days              = var.database.backup_days
  max_connections          = var.database.max_connections
  kms_key_arn              = module.keys.arns["database"]
  log_kms_key_arn          = module.keys.arns["logs"]
  log_retention_days       = var.log_retention_days
  deletion_protection      = var.protected
  permissions_boundary_arn = local.boundary

  storage_gb = {
    initial = var.database.initial_gb
    maximum = var.database.maximum_gb
  }
}

module "search" {
  source = "../opensearch"

  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.node_security_group_id
  dedicated_masters        = var.search.dedicated_masters
  writer_role_arn          = module.workloads.role_arns["fluent-bit"]
  reader_role_arns         = var.people.reader_role_arns
  admin_principal_arns     = var.people.admin_role_arns
  kms_key_arn              = module.keys.arns["search"]
  log_kms_key_arn          = module.keys.arns["logs"]
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = local.boundary

  data_nodes = {
    instance_type = var.search.instance_type
    count         = var.search.count
    disk_gb       = var.search.disk_gb
  }
}

module "dns" {
  source = "../dns"

  name               = local.name
  domain             = var.domain
  distribution       = module.dashboard.distribution
  site_distribution  = one(module.site[*].distribution)
  load_balancer_name = var.load_balancer_name
}

module "dashboard" {
  source = "../cdn"

  name                  = local.name
  bucket_name           = "${local.name}-dashboard-${local.account}"
  hosts                 = module.dns.hosts
  certificate_arn       = module.dns.edge_certificate_arn
  destroy_with_contents = !var.protected

  log_bucket = {
    name = module.logs.name
    arn  = module.logs.arn
  }
}

# The page of prices, for who wants it without the cluster: written by tasks of Fargate, read from a bucket.
module "site" {
  source = "../site"
  count  = var.site == null ? 0 : 1

  name                  = local.name
  bucket_name           = "${local.name}-site-${local.account}"
  host                  = module.dns.hosts.prices
  certificate_arn       = module.dns.edge_certificate_arn
  destroy_with_contents = !var.protected

  log_bucket = {
    name = module.logs.name
    arn  = module.logs.arn
  }
}

module "site_task" {
  source = "../ecs-task"
  count  = var.site == null ? 0 : 1

  name                     = "${local.name}-site"
  vpc_id                   = module.network.vpc_id
  subnet_ids               = values(module.network.private_subnet_ids)
  bucket_name              = module.site[0].bucket.name
  bucket_arn               = module.site[0].bucket.arn
  image                    = var.site.image
  price_source             = var.site.source
  log_kms_key_arn          = module.keys.arns["logs"]
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = local.boundary
}

module "workloads" {
  source = "../workloads"

  name                     = module.cluster.name
  oidc                     = module.cluster.oidc
  secrets_arn_pattern      = "${local.secrets}:tickbell/${var.environment}/*"
  secrets_kms_key_arn      = module.keys.arns["secrets"]
  zone                     = module.dns.zone
  reserved_records         = module.dns.reserved_records
  backup_bucket_arn        = module.backups.arn
  backup_kms_key_arn       = module.keys.arns["backups"]
  archive_bucket_arn       = module.archive.arn
  archive_kms_key_arn      = module.keys.arns["archive"]
  search_domain_arn        = "arn:${local.partition}:es:${local.region}:${local.account}:domain/${local.name}"
  asg_names                = module.cluster.node_group_asg_names
  permissions_boundary_arn = local.boundary
}

module "secrets" {
  source = "../secrets"

  environment      = var.environment
  kms_key_arn      = module.keys.arns["secrets"]
  reader_role_arns = concat([module.workloads.role_arns["external-secrets"]], var.people.admin_role_arns)
  recovery_days    = var.protected ? 30 : 0
}

module "alarms" {
  source = "../alarms"

  name            = local.name
  emails          = var.alarm_emails
  nat_gateway_ids = module.network.nat_gateway_ids
  published       = var.load_balancer_name != null
  load_balancer   = module.dns.load_balancer
  health_check_id = module.dns.health_check_id
  distribution_id = module.dashboard.distribution.id

  site_health_check_ids = var.site == null ? {} : module.site[0].health_check_ids
  site_written          = var.site == null ? {} : module.site_task[0].written

  kms_key_arns = {
    home   = module.keys.arns["alarms"]
    global = module.global_keys.arns["alarms"]
  }

  database = {
    identifier  = module.database.identifier
    min_free_gb = max(2, floor(var.database.initial_gb / 10))
  }

  search = {
    domain_name = module.search.domain_name
    min_free_gb = max(2, floor(var.search.disk_gb / 5))
  }
}

module "budget" {
  source = "../budget"

  name        = local.name
  environment = var.environment
  monthly_usd = var.monthly_budget_usd
  topic_arn   = module.alarms.topic_arn
}
