;; Waits in setup for a message that its client never sends.
(data (i32.const 64) "setup\00")
(func $setup (result i32)
  (drop (call $say (i32.const 64)))
  (drop (call $hear))
  (call $ok))
