;; Told to, calls an import without end that does nothing with its client.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then (loop $for_ever (call $set_timeout (i32.const 0) (i64.const 0)) (br $for_ever))))
  (call $ok))
