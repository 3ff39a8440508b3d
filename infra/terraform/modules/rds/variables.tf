variable "name" {
  description = "Identifier of the database instance."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,50}$", var.name))
    error_message = "An identifier is 3 to 51 of a-z, 0-9 and -, and begins with a letter."
  }
}

variable "postgres_version" {
  description = "Major version of PostgreSQL. Minor versions come in the maintenance window."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^1[7-9]$", var.postgres_version))
    error_message = "17 or newer, and only the major version."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Database subnets, by zone."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "The database may move between three zones."
  }
}

variable "client_security_group_id" {
  description = "Group of the nodes and pods that may connect."
  type        = string
}

variable "instance_class" {
  description = "Size of the instance, like db.m7g.large."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "A class is named like db.m7g.large."
  }
}

variable "storage_gb" {
  description = "Initial disk size, and the limit of its automatic growth."
  type = object({
    initial = number
    maximum = number
  })

  validation {
    condition     = var.storage_gb.initial >= 20 && var.storage_gb.maximum >= var.storage_gb.initial * 1.1
    error_message = "20 GB at least, and room to grow by a tenth: a full disk stops the database."
  }
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over when the instance or its zone is lost."
  type        = bool
}

variable "backup_days" {
  description = "How far back any point in time can be restored."
  type        = number

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "7 to 35 days; AWS keeps no more, and without backups there is no restore."
  }
}

variable "max_connections" {
  description = "Connections that the instance accepts. Each service process opens up to database.max_connections (16)."
  type        = number

  validation {
    condition     = var.max_connections >= 100 && var.max_connections <= 5000
    error_message = "100 to 5000."
  }
}

variable "kms_key_arn" {
  description = "Key of the disk, its snapshots, the performance data and the master password."
  type        = string
}

variable "log_kms_key_arn" {
  description = "Key of the exported logs."
  type        = string
}

variable "log_retention_days" {
  description = "Retention of exported logs, in days."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "CloudWatch supports 30, 60, 90, 180, 365, 400 and 731 days."
  }
}

variable "iam_authentication" {
  description = "Whether users may connect with a token of their IAM role instead of a password."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Whether the instance refuses to be deleted, and leaves a last snapshot when it is deleted after all."
  type        = bool
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do."
  type        = string
}
