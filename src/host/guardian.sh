#!/bin/sh
# Ends the platform's processes when the supervisor is gone without having done so itself, which is
# when standard input ends. Lines there are "add <process group>" and "drop <process group>".
# $1 is the runtime folder, removed at the end.
trap '' INT TERM HUP

groups=' '
while read -r verb group; do
  case $verb in
    add) groups="$groups$group " ;;
    drop) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
  esac
done

for group in $groups; do
  kill -KILL "-$group" 2>/dev/null
done
rm -rf -- "$1"
