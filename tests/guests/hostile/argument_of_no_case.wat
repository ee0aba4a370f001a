;; Told to, sets a timeout that is neither some nor none.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (call $set_timeout (i32.const 7) (i64.const 0))))
  (call $ok))
