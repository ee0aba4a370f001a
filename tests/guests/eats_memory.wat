;; Told to, takes one page after the other and writes to each, until it may not.
(func $handle (result i32) (local $page i32)
  (if (call $told_to_misbehave)
    (then
      (loop $more
        (local.set $page (memory.grow (i32.const 1)))
        (if (i32.ne (local.get $page) (i32.const -1))
          (then
            (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1))
            (br $more))))
      (unreachable)))
  (call $ok))
