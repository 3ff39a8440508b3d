variable "environment" {
  description = "Which environment this is."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "staging or production."
  }
}

variable "domain" {
  description = "Domain of this environment, like staging.tickbell.example."
  type        = string
}

variable "repositories" {
  description = "Where pipelines run from: repository of GitHub and project of GitLab; null where one is not used."
  type = object({
    github = optional(string)
    gitlab = optional(string)
  })
}

variable "people" {
  description = "IAM roles of users: admins have all rights in the cluster and in OpenSearch, readers may only read."
  type = object({
    admin_role_arns  = list(string)
    reader_role_arns = optional(list(string), [])
  })
}

variable "alarm_emails" {
  description = "Addresses that alarms are mailed to."
  type        = set(string)
}

variable "load_balancer_name" {
  description = "Name of the load balancer that the cluster has made from its Ingress; null before it is there."
  type        = string
  default     = null
}

variable "api_access_cidrs" {
  description = "Addresses that may reach the cluster's API server from outside; empty for none."
  type        = list(string)
  default     = []
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string
}

variable "nat_per_zone" {
  description = "NAT gateway and service endpoints in each zone, or in a single one."
  type        = bool
}

variable "kubernetes" {
  description = "Version of Kubernetes, and of the add-ons that belong to it."
  type = object({
    version = string
    addons = object({
      aws-ebs-csi-driver = string
      coredns            = string
      kube-proxy         = string
      metrics-server     = string
      vpc-cni            = string
    })
  })
}

variable "services_pool" {
  description = "Nodes without disks, in all zones together."
  type = object({
    instance_types = list(string)
    min            = number
    desired        = number
    max            = number
  })
}

variable "stateful_pool" {
  description = "Nodes with disks, so many in each zone."
  type = object({
    instance_types = list(string)
    per_zone       = number
  })
}

variable "database" {
  description = "RDS: size, disk, standby, and how far back it can be restored."
  type = object({
    instance_class  = string
    initial_gb      = number
    maximum_gb      = number
    multi_az        = bool
    backup_days     = number
    max_connections = number
  })
}

variable "backup_copy_region" {
  description = "Second region that the database's backups are copied to, against the loss of the first; null for none."
  type        = string
  default     = null
}

variable "search" {
  description = "OpenSearch: nodes, disks, and dedicated masters if any."
  type = object({
    instance_type     = string
    count             = number
    disk_gb           = number
    dedicated_masters = optional(string)
  })
}

variable "site" {
  description = "Page of prices without the cluster: the API that it is made from, like coinnews:https://news.example, and the image of its first tasks, whose tag is a commit; null for no page."
  type = object({
    source = string
    image  = string
  })
  default = null
}

variable "log_retention_days" {
  description = "Retention of audit, flow and service logs, in days."
  type        = number
}

variable "monthly_budget_usd" {
  description = "Monthly costs above which a notification is sent."
  type        = number
}

variable "protected" {
  description = "Whether this environment refuses to be destroyed: cluster, database, full buckets, secrets."
  type        = bool
}
