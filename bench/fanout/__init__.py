"""What a delivery of one message to many clients costs."""
