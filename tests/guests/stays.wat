;; Says TEXT in each of its three steps, and waits for one message in between, however often its wait ends without one.
(data (i32.const 64) "TEXT \00")
(func $setup (result i32) (drop (call $say (i32.const 64))) (call $ok))
(func $handle (result i32)
  (loop $again (br_if $again (i32.eq (call $hear) (i32.const -1))))
  (drop (call $say (i32.const 64)))
  (call $ok))
(func $finish (result i32) (drop (call $say (i32.const 64))) (call $ok))
