//! What every function runs on AWS Lambda.
