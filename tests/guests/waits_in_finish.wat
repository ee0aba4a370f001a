;; Waits in finish for a message that its client never sends.
(data (i32.const 64) "finish\00")
(func $finish (result i32)
  (drop (call $say (i32.const 64)))
  (drop (call $hear))
  (call $ok))
