variable "name" {
  description = "Name of the domain."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,27}$", var.name))
    error_message = "A domain's name is 3 to 28 of a-z, 0-9 and -, and begins with a letter."
  }
}

variable "engine_version" {
  description = "Version of OpenSearch."
  type        = string
  default     = "OpenSearch_3.5"

  validation {
    condition     = can(regex("^OpenSearch_[3-9]\\.\\d+$", var.engine_version))
    error_message = "OpenSearch_3 or newer."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, by zone."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "The nodes spread over three zones, or stand in the first of them."
  }
}

variable "client_security_group_id" {
  description = "Group of the nodes and pods that write and search logs."
  type        = string
}

variable "data_nodes" {
  description = "Nodes that hold the logs: 1 (no copy of anything) or a multiple of three, one part in each zone."
  type = object({
    instance_type = string
    count         = number
    disk_gb       = number
  })

  validation {
    condition     = var.data_nodes.count == 1 || var.data_nodes.count % 3 == 0
    error_message = "One node, or a multiple of three."
  }

  validation {
    condition     = endswith(var.data_nodes.instance_type, ".search") && var.data_nodes.disk_gb >= 10
    error_message = "A type ends with .search, and a node has 10 GB at least."
  }
}

variable "dedicated_masters" {
  description = "Type of the three dedicated masters; null where the data nodes choose one among themselves."
  type        = string
  default     = null
}

variable "writer_role_arn" {
  description = "Role of Fluent Bit. It must also be mapped to a role inside OpenSearch (README.md)."
  type        = string
}

variable "reader_role_arns" {
  description = "Roles of users and of Grafana that may search; inside OpenSearch they are mapped like the writer."
  type        = list(string)
  default     = []
}

variable "kms_key_arn" {
  description = "Key of the disks."
  type        = string
}

variable "log_kms_key_arn" {
  description = "Key of the domain's own logs."
  type        = string
}

variable "log_retention_days" {
  description = "Retention of the domain's own logs, in days; its ISM policy defines that of the stored logs."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "CloudWatch supports 30, 60, 90, 180, 365, 400 and 731 days."
  }
}

variable "admin_principal_arns" {
  description = "Roles that may take the administrator's role of the domain."
  type        = list(string)

  validation {
    condition     = length(var.admin_principal_arns) > 0
    error_message = "At least one principal must be able to map roles."
  }
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do."
  type        = string
}
