;; Waits in handle for a message that its client never sends.
(data (i32.const 64) "handle\00")
(func $handle (result i32)
  (drop (call $say (i32.const 64)))
  (drop (call $hear))
  (call $ok))
