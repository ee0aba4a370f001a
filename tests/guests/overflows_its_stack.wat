;; Keeps a stack in its memory as compilers do, of 64 KiB from the memory's beginning. Told to, calls itself without end.
(global $stack (mut i32) (i32.const 65536))
(func $descend (param $depth i32) (result i32) (local $frame i32)
  (global.set $stack (local.tee $frame (i32.sub (global.get $stack) (i32.const 4096))))
  (i32.store (local.get $frame) (local.get $depth))
  (i32.add (call $descend (i32.add (local.get $depth) (i32.const 1))) (i32.load (local.get $frame))))
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (call $descend (i32.const 0)))))
  (call $ok))
