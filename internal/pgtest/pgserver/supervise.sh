# Run as: sh supervise.sh FOLDER COMMAND..., with the read end of a pipe from the folder's owner as stdin.
#
# A line on the pipe starts the command; a further one stops it and starts it anew. The end of the pipe means that the
# owner closed it or is no more, however it ended: the command is stopped, and once it has gone its folder goes. Where the
# command ends by itself, its status is left in FOLDER/exit and the folder stays for its log, until the pipe says more.
dir=$1
shift
trap '' HUP INT QUIT TERM
exec 4<&0
again=no
read -r go && again=yes
while [ $again = yes ]; do
	rm -f "$dir/exit" "$dir/again"
	(
		trap - TERM
		exec "$@" 4<&- </dev/null >>"$dir/log" 2>&1
	) &
	command=$!
	(
		read -r line && : >"$dir/again"
		# QUIT is PostgreSQL's immediate shutdown. A command so young that it has no handlers yet ignores it, as every
		# background command of a shell does, and takes TERM.
		[ -e "$dir/exit" ] || {
			kill -QUIT $command
			kill -TERM $command
		}
	) <&4 &
	guard=$!
	wait $command
	status=$?
	[ -e "$dir/again" ] || echo $status >"$dir/exit"
	wait $guard
	[ -e "$dir/again" ] || again=no
done
# The second try is for a grandchild that was still writing.
rm -rf "$dir" || {
	sleep 1
	rm -rf "$dir"
}
