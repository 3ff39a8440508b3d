variable "name" {
  description = "The cluster, which is the prefix of every role."
  type        = string
}

variable "oidc" {
  description = "The cluster's identity provider: its ARN, and its issuer without https://."
  type = object({
    arn    = string
    issuer = string
  })
}

variable "secrets_arn_pattern" {
  description = "ARN pattern of this environment's secrets."
  type        = string

  validation {
    condition     = can(regex(":secret:tickbell/[a-z]+/\\*$", var.secrets_arn_pattern))
    error_message = "Only secrets of one environment: ….:secret:tickbell/<environment>/*."
  }
}

variable "secrets_kms_key_arn" {
  description = "Key of the secrets."
  type        = string
}

variable "zone" {
  description = "Hosted zone that external-dns writes to: its ARN and its name."
  type = object({
    arn  = string
    name = string
  })
}

variable "reserved_records" {
  description = "Names in the zone that belong to Terraform and that external-dns may not touch."
  type        = list(string)
}

variable "backup_bucket_arn" {
  description = "Bucket of database backups."
  type        = string
}

variable "backup_kms_key_arn" {
  description = "Key of the backups."
  type        = string
}

variable "archive_bucket_arn" {
  description = "Bucket of the history as files."
  type        = string
}

variable "archive_kms_key_arn" {
  description = "Key of the history as files."
  type        = string
}

variable "search_domain_arn" {
  description = "OpenSearch domain that logs go to."
  type        = string
}

variable "asg_names" {
  description = "Auto scaling groups that the cluster autoscaler may resize."
  type        = list(string)
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do."
  type        = string
}
