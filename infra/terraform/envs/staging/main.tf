# Staging: the same as production in everything but size. This file and its twin are all that differs.

module "tickbell" {
  source = "../../modules/environment"

  environment  = "staging"
  cidr         = "10.40.0.0/16"
  nat_per_zone = false

  # Moved here first, and in production when staging has run with it for a week.
  kubernetes = {
    version = "1.36"
    addons = {
      aws-ebs-csi-driver = "v1.63.1-eksbuild.1"
      coredns            = "v1.14.3-eksbuild.16"
      kube-proxy         = "v1.36.0-eksbuild.21"
      metrics-server     = "v0.9.0-eksbuild.5"
      vpc-cni            = "v1.22.4-eksbuild.3"
    }
  }

  services_pool = {
    instance_types = ["t3a.large", "t3.large"]
    min            = 2
    desired        = 3
    max            = 5
  }

  stateful_pool = {
    instance_types = ["m7a.medium", "m6a.large"]
    per_zone       = 1
  }

  database = {
    instance_class  = "db.t4g.medium"
    initial_gb      = 30
    maximum_gb      = 100
    multi_az        = false
    backup_days     = 7
    max_connections = 200
  }

  search = {
    instance_type = "t3.small.search"
    count         = 1
    disk_gb       = 20
  }

  log_retention_days = 30
  monthly_budget_usd = 900
  protected          = false

  # Of the installation (variables.tf).
  domain             = var.domain
  repositories       = var.repositories
  people             = var.people
  alarm_emails       = var.alarm_emails
  api_access_cidrs   = var.api_access_cidrs
  load_balancer_name = var.load_balancer_name
  backup_copy_region = var.backup_copy_region
  site               = var.site
}
