output "name_servers" {
  description = "Name servers that the parent domain must delegate to."
  value       = module.dns.name_servers
}

output "hosts" {
  description = "Host names of the dashboard, of the API and of the page of prices."
  value       = module.dns.hosts
}

output "cluster_name" {
  description = "The cluster, for aws eks update-kubeconfig."
  value       = module.cluster.name
}

output "vpc_id" {
  description = "The VPC, for the load balancer controller: pods cannot query the metadata service."
  value       = module.network.vpc_id
}

output "volumes_key_arn" {
  description = "Key of the StorageClass."
  value       = module.keys.arns["volumes"]
}

output "role_arns" {
  description = "Roles of workloads, for their service accounts' annotations."
  value       = module.workloads.role_arns
}

output "service_accounts" {
  description = "Which service account may take which role."
  value       = module.workloads.service_accounts
}

output "deploy_role_arn" {
  description = "Role that the pipeline takes to deploy."
  value       = module.deploy_role.arn
}

output "load_balancer" {
  description = "What the Ingress names: group, subnets, certificate, firewall, bucket of logs; and where it asks from."
  value = {
    cidr              = module.network.public_cidr
    security_group_id = module.ingress.security_group_id
    subnet_ids        = values(module.network.public_subnet_ids)
    certificate_arn   = module.dns.api_certificate_arn
    web_acl_arn       = module.ingress.web_acl_arn
    log_bucket        = module.logs.name
  }
}

output "database" {
  description = "Host of the database, where it lies, and the secret with its administrator's password."
  value = {
    cidr             = module.network.database_cidr
    address          = module.database.address
    admin_secret_arn = module.database.admin_secret_arn
  }
}

output "search" {
  description = "Host of OpenSearch, and the role of its administrator."
  value = {
    endpoint       = module.search.endpoint
    admin_role_arn = module.search.admin_role_arn
  }
}

output "backup_bucket" {
  description = "Bucket of database backups; they go below postgres/."
  value       = module.backups.name
}

output "archive_bucket" {
  description = "Bucket of the history as files; the archiver writes below history/."
  value       = module.archive.name
}

output "dashboard" {
  description = "Bucket that the dashboard is released to, and the distribution to invalidate then."
  value = {
    bucket          = module.dashboard.bucket.name
    distribution_id = module.dashboard.distribution.id
  }
}

output "site" {
  description = "Variables SITE, SITE_URL and SITE_CLUSTER of site-deploy, site-promote and site-rollback; null where there is no page."
  value = var.site == null ? null : {
    site    = "s3://${module.site[0].bucket.name}"
    url     = "https://${module.dns.hosts.prices}"
    cluster = module.site_task[0].cluster.name
  }
}

output "secret_names" {
  description = "Secrets by what they belong to: the remote keys of External Secrets."
  value       = module.secrets.names
}

output "nat_addresses" {
  description = "Addresses that mail relays and price sources see."
  value       = module.network.nat_addresses
}
