variable "name" {
  description = "Name of the cluster."
  type        = string

  validation {
    condition     = can(regex("^tickbell-[a-z0-9-]{2,22}$", var.name))
    error_message = "A cluster's name is tickbell- and 2 to 22 of a-z, 0-9 and -."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, like 1.36. One step at a time, staging first."
  type        = string

  validation {
    condition     = can(regex("^1\\.(3[4-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "1.34 or newer: what is older costs six times as much (extended support)."
  }
}

variable "addon_versions" {
  description = "Exact versions of the add-ons. They belong to a version of Kubernetes and change with it."
  type = object({
    aws-ebs-csi-driver = string
    coredns            = string
    kube-proxy         = string
    metrics-server     = string
    vpc-cni            = string
  })

  validation {
    condition = alltrue([
      for version in values(var.addon_versions) : can(regex("^v\\d+\\.\\d+\\.\\d+-eksbuild\\.\\d+$", version))
    ])
    error_message = "An add-on's version is exact, like v1.22.4-eksbuild.3."
  }
}

variable "subnet_ids" {
  description = "Private subnets, by zone."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "The cluster spans three zones."
  }
}

variable "public_access_cidrs" {
  description = "Addresses that may reach the API server from outside the VPC; empty closes it to the outside."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.public_access_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 24
    ])
    error_message = "Only ranges of /24 and smaller: the API server is not for the whole internet."
  }
}

variable "services_pool" {
  description = "Nodes of everything without a disk: how many in all three zones together, and of which kind."
  type = object({
    instance_types = list(string)
    min            = number
    desired        = number
    max            = number
    disk_gb        = optional(number, 50)
  })

  validation {
    condition     = var.services_pool.min >= 2
    error_message = "At least two nodes: one may be replaced at any time."
  }

  validation {
    condition = alltrue([
      var.services_pool.min <= var.services_pool.desired,
      var.services_pool.desired <= var.services_pool.max,
    ])
    error_message = "min <= desired <= max."
  }
}

variable "stateful_pool" {
  description = "Nodes of NATS and of whatever else has a disk: so many in each zone, as a disk cannot leave it."
  type = object({
    instance_types = list(string)
    per_zone       = number
    disk_gb        = optional(number, 50)
  })

  validation {
    condition     = var.stateful_pool.per_zone >= 1 && var.stateful_pool.per_zone <= 3
    error_message = "One to three nodes per zone."
  }

  validation {
    condition     = alltrue([for kind in var.stateful_pool.instance_types : !startswith(kind, "t")])
    error_message = "NATS syncs every message to disk: no burstable instances, whose credits run out."
  }
}

variable "admin_role_arns" {
  description = "IAM roles of users with all rights in the cluster."
  type        = list(string)

  validation {
    condition = length(var.admin_role_arns) > 0 && alltrue([
      for arn in var.admin_role_arns : can(regex(":role/", arn))
    ])
    error_message = "At least one role is needed (roles, not users), or the cluster is inaccessible."
  }
}

variable "group_role_arns" {
  description = <<-EOT
    Roles by the group that they are in the cluster, which gives the groups their rights (k8s/base/access.yaml):
    tickbell-deployers for the pipeline and for operators, tickbell-helm-deployers as well for those who use the chart,
    tickbell-readers for people who only look.
  EOT
  type        = map(list(string))

  validation {
    condition = alltrue([
      for group in keys(var.group_role_arns) : contains(["tickbell-deployers", "tickbell-helm-deployers", "tickbell-readers"], group)
    ])
    error_message = "The cluster has the groups tickbell-deployers, tickbell-helm-deployers and tickbell-readers."
  }
}

variable "kms_key_arns" {
  description = "Keys: cluster for Kubernetes' secrets, volumes for disks, logs for the control plane's logs."
  type = object({
    cluster = string
    volumes = string
    logs    = string
  })
}

variable "log_retention_days" {
  description = "Retention of the control plane's logs, including the audit log, in days."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "CloudWatch supports 30, 60, 90, 180, 365, 400 and 731 days (and others that are not needed here)."
  }
}

variable "deletion_protection" {
  description = "Whether the cluster refuses to be deleted."
  type        = bool
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do."
  type        = string
}
