;; Looks at the beginning whether anything is left of another session: in its memory, in what it grows by, in globals,
;; tables, locals and segments, and behind what it received. Says how much it found, and a checksum of what it was made
;; with; then leaves its client's eight secret bytes all over, and drops what can be dropped. Traps in the end if every bit
;; of the secret is set.
(memory (export "memory") 3)
(table $table ELEMENTS funcref)
(table $grown 0 funcref)
(elem $functions funcref (ref.func $ok))
(data $bytes "\01\02\03\04\05\06\07\08")
(global $a (mut i32) (i32.const 0))
(global $b (mut i64) (i64.const 0))
(global $c (mut f64) (f64.const 0))
(global $d (mut v128) (v128.const i64x2 0 0))
(global $e (mut funcref) (ref.null func))
(global $found (mut i64) (i64.const 0))
(func $find (param $is_there i32)
  (global.set $found (i64.add (global.get $found) (i64.extend_i32_u (local.get $is_there)))))
;; Counts stretches of 64 bytes in which not all are zero.
(func $scan (param $from i32) (param $to i32)
  (loop $next
    (if (i32.lt_u (local.get $from) (local.get $to))
      (then
        (call $find
          (v128.any_true
            (v128.or
              (v128.or (v128.load (local.get $from)) (v128.load offset=16 (local.get $from)))
              (v128.or (v128.load offset=32 (local.get $from)) (v128.load offset=48 (local.get $from))))))
        (local.set $from (i32.add (local.get $from) (i32.const 64)))
        (br $next)))))
(func $scan_table (local $place i32)
  (loop $next
    (call $find (i32.eqz (ref.is_null (table.get $table (local.get $place)))))
    (local.set $place (i32.add (local.get $place) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $place) (table.size $table)))))
;; What a function does not set is zero.
(func $scan_locals (local $a i64) (local $b i64) (local $c f64) (local $d v128) (local $e funcref)
  (call $find (i64.ne (i64.or (local.get $a) (local.get $b)) (i64.const 0)))
  (call $find (f64.ne (local.get $c) (f64.const 0)))
  (call $find (v128.any_true (local.get $d)))
  (call $find (i32.eqz (ref.is_null (local.get $e)))))
(func $scan_globals
  (call $find (i32.ne (global.get $a) (i32.const 0)))
  (call $find (i64.ne (global.get $b) (i64.const 0)))
  (call $find (f64.ne (global.get $c) (f64.const 0)))
  (call $find (v128.any_true (global.get $d)))
  (call $find (i32.eqz (ref.is_null (global.get $e)))))
;; To 56: of the texts, which are from 64 to 1280.
(func $checksum (local $at i32) (local $sum i64)
  (local.set $at (i32.const 64))
  (loop $next
    (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 7)) (i64.load (local.get $at))))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 1280))))
  (i64.store (i32.const 56) (local.get $sum)))
(func $setup (result i32)
  (call $find (i32.ne (memory.size) (i32.const 3)))
  (call $find (i32.ne (table.size $table) (i32.const ELEMENTS)))
  (call $find (i32.ne (table.size $grown) (i32.const 0)))
  (call $scan (i32.const 0) (i32.const 64))
  (call $scan (i32.const 1280) (i32.const 196608))
  (call $scan_table)
  (call $scan_globals)
  (call $scan_locals)
  (call $checksum)
  (call $ok))
(func $handle (result i32) (local $secret i64) (local $at i32) (local $end i32) (local $place i32)
  (if (i32.ne (call $hear) (i32.const 8)) (then unreachable))
  (local.set $secret (i64.load (i32.const 2048)))
  (call $find (i64.ne (i64.load (i32.const 2056)) (i64.const 0)))
  (call $scan (i32.const 2112) (i32.const 196608))
  ;; Dropped by another, they would trap here. In an instance that has served before, they were dropped.
  (if (i32.eqz (global.get $a))
    (then
      (memory.init $bytes (i32.const 2048) (i32.const 0) (i32.const 8))
      (table.init $table $functions (i32.const 0) (i32.const 0) (i32.const 1))
      (call $find (i64.ne (i64.load (i32.const 2048)) (i64.const 0x0807060504030201)))))
  ;; Every eighth one grows.
  (if (i32.eqz (i32.and (i32.wrap_i64 (local.get $secret)) (i32.const 7)))
    (then
      (local.set $end (i32.shl (memory.size) (i32.const 16)))
      (drop (memory.grow (i32.const 4)))
      (call $scan (local.get $end) (i32.shl (memory.size) (i32.const 16)))
      (drop (table.grow $grown (ref.null func) (i32.const 100)))
      (loop $next
        (call $find (i32.eqz (ref.is_null (table.get $grown (local.get $place)))))
        (table.set $grown (local.get $place) (ref.func $ok))
        (local.set $place (i32.add (local.get $place) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $place) (i32.const 100))))))
  (i64.store (i32.const 48) (global.get $found))
  (call $send (i32.const 48) (i32.const 16) (i32.const 16))
  ;; The secret, all over.
  (local.set $end (i32.shl (memory.size) (i32.const 16)))
  (loop $next
    (v128.store (local.get $at) (i64x2.splat (local.get $secret)))
    (v128.store offset=16 (local.get $at) (i64x2.splat (local.get $secret)))
    (local.set $at (i32.add (local.get $at) (i32.const 32)))
    (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
  (table.fill $table (i32.const 0) (ref.func $ok) (table.size $table))
  (global.set $a (i32.or (i32.wrap_i64 (local.get $secret)) (i32.const 1)))
  (global.set $b (local.get $secret))
  (global.set $c (f64.reinterpret_i64 (local.get $secret)))
  (global.set $d (i64x2.splat (local.get $secret)))
  (global.set $e (ref.func $ok))
  (data.drop $bytes)
  (elem.drop $functions)
  (if (i64.eq (local.get $secret) (i64.const -1)) (then unreachable))
  (call $ok))
