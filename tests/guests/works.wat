;; Works for some milliseconds on each message before it answers: no spinner, though its work adds up.
(func $work (local $left i32)
  (local.set $left (i32.const 20000000))
  (loop $on
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $on (local.get $left))))
(func $handle (result i32)
  (block $end
    (loop $next
      (br_if $end (i32.le_s (call $hear) (i32.const 0)))
      (call $work)
      (br_if $next (i32.eqz (call $say (i32.const 1216))))))
  (call $ok))
