# Production: three of everything. This file and its twin are all that differs.

module "tickbell" {
  source = "../../modules/environment"

  environment  = "production"
  cidr         = "10.60.0.0/16"
  nat_per_zone = true

  # Follows staging.
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
    instance_types = ["m7a.large", "m6a.large"]
    min            = 3
    desired        = 3
    max            = 9
  }

  stateful_pool = {
    instance_types = ["m7a.large", "m6a.large"]
    per_zone       = 1
  }

  database = {
    instance_class  = "db.m7g.large"
    initial_gb      = 200
    maximum_gb      = 1000
    multi_az        = true
    backup_days     = 35
    max_connections = 450
  }

  search = {
    instance_type = "m7g.large.search"
    count         = 3
    disk_gb       = 100
  }

  log_retention_days = 365
  monthly_budget_usd = 2600
  protected          = true

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
