#![doc = include_str!("cost.md")]
