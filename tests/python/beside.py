MOTTO = "one for all"
