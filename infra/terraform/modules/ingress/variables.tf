variable "name" {
  description = "Prefix of every name, like tickbell-staging."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the load balancer."
  type        = string
}

variable "node_security_group_id" {
  description = "Group of the nodes and pods that the load balancer sends requests to."
  type        = string
}

variable "gateway_port" {
  description = "Port of the gateway's pods."
  type        = number
  default     = 8080

  validation {
    condition     = var.gateway_port >= 1024 && var.gateway_port <= 65535
    error_message = "The gateway is not root: 1024 to 65535."
  }
}

variable "requests_per_5_minutes" {
  description = "Requests that one address may make in five minutes."
  type        = number
  default     = 3000

  validation {
    condition     = var.requests_per_5_minutes >= 10
    error_message = "AWS WAF counts from 10 up."
  }
}

variable "subscriptions_per_5_minutes" {
  description = "New alerts that one address may create in five minutes; each of them sends a mail."
  type        = number
  default     = 60

  validation {
    condition     = var.subscriptions_per_5_minutes >= 10
    error_message = "AWS WAF counts from 10 up."
  }
}

variable "log_kms_key_arn" {
  description = "Key of the firewall's log."
  type        = string
}

variable "log_retention_days" {
  description = "Retention of the firewall's log, in days."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "CloudWatch supports 30, 60, 90, 180, 365, 400 and 731 days."
  }
}
