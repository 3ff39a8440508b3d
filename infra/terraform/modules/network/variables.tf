variable "name" {
  description = "Prefix of every name, like tickbell-staging."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "A name is 3 to 31 of a-z, 0-9 and -, and begins with a letter."
  }
}

variable "cidr" {
  description = "Addresses of the VPC. Each environment has its own /16, so that they can be peered one day."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "The VPC needs a valid /16."
  }
}

variable "zones" {
  description = "Availability zones, in a fixed order: an address range belongs to a position in this list."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && length(distinct(var.zones)) == 3
    error_message = "Exactly three different zones: NATS and the database keep a majority when one is lost."
  }
}

variable "nat_per_zone" {
  description = "NAT gateway and service endpoints in each zone, or in one whose loss cuts every zone off from outside."
  type        = bool
}

variable "interface_endpoints" {
  description = "AWS services that nodes reach without leaving the VPC."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts"]

  validation {
    condition = alltrue([
      for wanted in ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts"] :
      contains(var.interface_endpoints, wanted)
    ])
    error_message = "Images, logs, secrets and roles must stay reachable when the NAT gateway is gone."
  }
}

variable "flow_log_bucket_arn" {
  description = "Bucket that takes the flow logs."
  type        = string
}
