;; Says TEXT in each of its three steps, and waits for one message in between.
(data (i32.const 64) "TEXT \00")
(func $setup (result i32) (drop (call $say (i32.const 64))) (call $ok))
(func $handle (result i32) (drop (call $hear)) (drop (call $say (i32.const 64))) (call $ok))
(func $finish (result i32) (drop (call $say (i32.const 64))) (call $ok))
