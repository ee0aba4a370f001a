;; Waits 20 ms for its client, then tells it the name of the error.
(func $handle (result i32)
  (call $set_timeout (i32.const 1) (i64.const 20000000))
  (if (i32.eq (call $hear) (i32.const -1)) (then (drop (call $say (call $error_heard)))))
  (call $ok))
